"""RPCs by which somebody signs in with an OpenID Connect issuer (PRD FR1)."""

from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import Role
from ams_common.database import Change

from identity_svc.accounts import become_consumer
from identity_svc.addresses import is_address, normalise_email
from identity_svc.handlers import Context, Handlers
from identity_svc.issuers import Claimant, Dance, not_proven

_MAX_NAME_CHARACTERS = 100


class OidcHandlers(Handlers):
    async def ListSignInIssuers(
        self, request: pb.ListSignInIssuersRequest, context: Context
    ) -> pb.ListSignInIssuersResponse:
        issuers = [pb.SignInIssuer(issuer_id=one.id, label=one.label) for one in self._providers.issuers]
        return pb.ListSignInIssuersResponse(issuers=issuers)

    async def StartOidcSignIn(self, request: pb.StartOidcSignInRequest, context: Context) -> pb.OidcChallenge:
        dance = Dance.begin()
        return pb.OidcChallenge(
            authorization_url=await self._providers.find(request.issuer_id).authorization_url(dance),
            state=dance.state,
            nonce=dance.nonce,
            code_verifier=dance.code_verifier,
        )

    async def CompleteOidcSignIn(self, request: pb.CompleteOidcSignInRequest, context: Context) -> pb.Session:
        provider = self._providers.find(request.issuer_id)
        if request.response_issuer not in ("", provider.issuer.url):
            raise not_proven()  # the answer of another issuer (RFC 9207)
        # Before the transaction: the issuer may take seconds.
        claimant = await provider.prove(request.code, request.nonce, request.code_verifier)
        now = self._clock()
        async with self._database.change() as change:
            user_id = await self._admit_claimant(change, provider.issuer.url, claimant, now)
            change.actor = str(user_id)  # nobody was signed in when the call began
            change.audit("user", user_id, issuer=provider.issuer.id)
            return await self._issuer.begin(change.connection, user_id, Role.ROLE_UNSPECIFIED, now)

    async def _admit_claimant(
        self, change: Change, issuer_url: str, claimant: Claimant, now: datetime
    ) -> UUID:
        """The subject's account; the first time the address's, made if there is none."""
        linked = await self._store.find_federated_user_id(change.connection, issuer_url, claimant.subject)
        if linked is not None:
            return linked
        email = normalise_email(claimant.email)
        if not is_address(email):
            raise not_proven()
        user_id = await self._store.find_user_id(change.connection, email)
        if user_id is None:
            user_id = await become_consumer(self._store, change, email, _name(claimant, email), now)
        await self._store.link_federated_identity(
            change.connection, issuer_url, claimant.subject, user_id, now
        )
        return user_id


def _name(claimant: Claimant, email: str) -> str:
    """What the issuer calls the person, on one line; else what stands before the @."""
    printable = "".join(character if character.isprintable() else " " for character in claimant.name)
    return " ".join(printable.split())[:_MAX_NAME_CHARACTERS] or email.partition("@")[0]
