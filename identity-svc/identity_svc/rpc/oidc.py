"""The RPCs by which somebody signs in with an OpenID Connect issuer (FR1)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import Role
from ams_common.clock import Clock
from ams_common.database import Change, Database
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from identity_svc.accounts import become_consumer
from identity_svc.addresses import is_address, normalise_email
from identity_svc.factor_checks import FactorChecks
from identity_svc.issuers import AuthorizationRequest, Claimant, sign_in_refused
from identity_svc.providers import Providers
from identity_svc.sessions import SessionIssuer
from identity_svc.store import Store
from identity_svc.vault import DEVICE_TTL, Vault

_MAX_NAME_CHARACTERS = 100


@dataclass(kw_only=True, eq=False, repr=False)
class OidcRpcs:
    database: Database[Store]
    providers: Providers
    session_issuer: SessionIssuer
    vault: Vault
    factors: FactorChecks
    clock: Clock

    async def ListSignInIssuers(
        self, request: pb.ListSignInIssuersRequest, context: Context
    ) -> pb.ListSignInIssuersResponse:
        issuers = [pb.SignInIssuer(issuer_id=one.id, label=one.label) for one in self.providers.issuers]
        return pb.ListSignInIssuersResponse(issuers=issuers)

    async def StartOidcSignIn(self, request: pb.StartOidcSignInRequest, context: Context) -> pb.OidcChallenge:
        authorization = AuthorizationRequest.new()
        return pb.OidcChallenge(
            authorization_url=await self.providers.find(request.issuer_id).authorization_url(authorization),
            state=authorization.state,
            nonce=authorization.nonce,
            code_verifier=authorization.code_verifier,
        )

    async def CompleteOidcSignIn(self, request: pb.CompleteOidcSignInRequest, context: Context) -> pb.Session:
        provider = self.providers.find(request.issuer_id)
        if request.response_issuer and not provider.issuer.issues_as(request.response_issuer):
            raise sign_in_refused()  # the answer of another issuer (RFC 9207)
        # Before the transaction: an issuer that takes seconds must hold no connection of ours.
        claimant = await provider.authenticate(request.code, request.nonce, request.code_verifier)
        now = self.clock()
        async with self.database.change() as change:
            user_id = await change.store.find_federated_user_id(
                issuer=claimant.issuer_url, subject=claimant.subject
            )
            if user_id is None:
                user_id = await self._link(change, claimant, now)
            change.actor = str(user_id)  # nobody was signed in when the call began
            change.audit("user", user_id, issuer=provider.issuer.id)
            asked = await self.factors.ask(change, user_id, "sign_in", now)
            if asked is not None:
                return pb.Session(second_factor=asked)
            session = await self.session_issuer.begin(change.store, user_id, Role.ROLE_UNSPECIFIED, now)
        device_id, email = uuid7(), session.user.email
        session.device_token = self.vault.device_token(email, device_id, now + DEVICE_TTL)
        return session

    async def _link(self, change: Change[Store], claimant: Claimant, now: datetime) -> UUID:
        """The account of the claimant's address, made if there is none, which the issuer's subject means
        from now on. Raises UnauthenticatedError for what is no address."""
        email = normalise_email(claimant.email)
        if not is_address(email):
            raise sign_in_refused()
        user_id = await change.store.find_user_id(email=email)
        if user_id is None:
            printable = "".join(c if c.isprintable() else " " for c in claimant.name)
            name = " ".join(printable.split())[:_MAX_NAME_CHARACTERS] or email.partition("@")[0]
            user_id = await become_consumer(change, email, name, now)
        await change.store.link_federated_identity(
            issuer=claimant.issuer_url, subject=claimant.subject, user_id=user_id, now=now
        )
        return user_id
