"""The RPCs by which somebody proves an address: asking for a code, and giving it back."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT, Role
from ams_common.clock import Clock, to_timestamp
from ams_common.context import current_caller
from ams_common.database import Change, Database
from ams_common.errors import ResourceExhaustedError, UnauthenticatedError
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from identity_svc import challenges, invites
from identity_svc.accounts import become_consumer, become_merchant
from identity_svc.addresses import normalise_email, one_line
from identity_svc.challenges import Purpose
from identity_svc.mails import MailQueue
from identity_svc.platform_settings import SettingsStore, require_admissible
from identity_svc.records import Challenge
from identity_svc.sessions import SessionIssuer
from identity_svc.store import Store
from identity_svc.vault import Vault

_ROLES = {
    Purpose.SIGN_IN: Role.ROLE_UNSPECIFIED,
    Purpose.REGISTER_CONSUMER: CONSUMER,
    Purpose.REGISTER_MERCHANT: MERCHANT,
}


@dataclass(kw_only=True, eq=False, repr=False)
class SignInRpcs:
    database: Database[Store]
    vault: Vault
    mail_queue: MailQueue
    session_issuer: SessionIssuer
    clock: Clock

    async def StartSignIn(self, request: pb.StartSignInRequest, context: Context) -> pb.Challenge:
        async with self.database.change() as change:
            return await self._start(change, Purpose.SIGN_IN, normalise_email(request.email))

    async def RegisterConsumer(self, request: pb.RegisterConsumerRequest, context: Context) -> pb.Challenge:
        email, name = normalise_email(request.email), one_line("name", request.name)
        async with self.database.change() as change:
            # Whether the address has an account isn't looked at: the answer would tell. Who is signed in with
            # it has one, and may become a consumer too.
            if not await _is_callers(change, email):
                require_admissible(await SettingsStore(change.connection).find_settings(), email)
            return await self._start(change, Purpose.REGISTER_CONSUMER, email, name=name)

    async def RegisterMerchant(self, request: pb.RegisterMerchantRequest, context: Context) -> pb.Challenge:
        email, name = normalise_email(request.email), one_line("name", request.name)
        company_name = one_line("companyName", request.company_name)
        async with self.database.change() as change:
            invite_id = await change.store.find_open_invite(
                code_hash=invites.code_hash(request.invite_code),
                email=email,
                role="merchant",
                now=self.clock(),
            )
            if invite_id is None:
                raise invites.not_valid()
            return await self._start(
                change,
                Purpose.REGISTER_MERCHANT,
                email,
                name=name,
                company_name=company_name,
                invite_id=invite_id,
            )

    async def VerifyChallenge(self, request: pb.VerifyChallengeRequest, context: Context) -> pb.Session:
        now = self.clock()
        session: pb.Session | None = None
        async with self.database.change() as change:
            challenge = await change.store.spend_attempt(
                challenge_id=UUID(request.challenge_id), now=now, max_attempts=challenges.MAX_ATTEMPTS
            )
            if challenge is None:
                raise _code_invalid()
            given = self.vault.code_hash(challenge.challenge_id, challenges.clean_code(request.code))
            is_right = hmac.compare_digest(given, challenge.code_hash)
            user_id = await self._find_or_make_account(change, challenge, now) if is_right else None
            if user_id is None:
                change.audit("challenge", request.challenge_id, outcome="refused")
            else:
                await change.store.use_challenge(challenge_id=challenge.challenge_id, now=now)
                change.actor = str(user_id)  # nobody was signed in when the call began
                change.audit("user", user_id, purpose=challenge.purpose)
                role = _ROLES[Purpose(challenge.purpose)]
                session = await self.session_issuer.begin(change.store, user_id, role, now)
        # Only now: raised inside, it would take the counted attempt back.
        if session is None:
            raise _code_invalid()
        return session

    async def _start(
        self,
        change: Change[Store],
        purpose: Purpose,
        email: str,
        *,
        name: str | None = None,
        company_name: str | None = None,
        invite_id: UUID | None = None,
    ) -> pb.Challenge:
        """Makes a challenge and queues its mail; the same work whether the address has an account.

        Raises ResourceExhaustedError when the address has had its codes.
        """
        now = self.clock()
        # One at a time from here: requests that come at once would outrun the limits.
        await change.store.lock_address(email=email)
        open_since = await change.store.list_open_challenges(
            email=email, since=now - challenges.LONGEST_WINDOW
        )
        if (wait := challenges.wait_before_next(open_since, now)) is not None:
            raise ResourceExhaustedError(
                "too_many_codes",
                "Too many codes were asked for this address. Try again later.",
                retry_after_s=str(int(wait.total_seconds()) + 1),
            )
        challenge_id, code, expires_at = uuid7(), challenges.new_code(), now + challenges.TTL
        await change.store.insert_challenge(
            challenge_id=challenge_id,
            purpose=purpose.value,
            email=email,
            name=name,
            company_name=company_name,
            invite_id=invite_id,
            code_hash=self.vault.code_hash(challenge_id, code),
            now=now,
            expires_at=expires_at,
        )
        await self.mail_queue.send_code(change.store, email, code, purpose, now)
        change.audit("challenge", challenge_id)
        return pb.Challenge(challenge_id=str(challenge_id), expires_at=to_timestamp(expires_at))

    async def _find_or_make_account(
        self, change: Change[Store], challenge: Challenge, now: datetime
    ) -> UUID | None:
        """The account that the proven address has, or gets by registering; None when it has none to sign in
        to. Raises FailedPreconditionError when the invite is no longer good."""
        if challenge.purpose == Purpose.SIGN_IN:
            return await change.store.find_user_id(email=challenge.email)
        assert challenge.name is not None, "a CHECK of the table"
        if challenge.purpose == Purpose.REGISTER_CONSUMER:
            return await become_consumer(change, challenge.email, challenge.name, now)
        assert challenge.company_name is not None and challenge.invite_id is not None, "a CHECK of the table"
        user_id = await become_merchant(
            change, challenge.invite_id, challenge.email, challenge.name, challenge.company_name, now
        )
        if user_id is None:
            raise invites.not_valid()
        return user_id


async def _is_callers(change: Change[Store], email: str) -> bool:
    user_id = current_caller().user_id
    return user_id is not None and await change.store.find_address(user_id=user_id) == email


def _code_invalid() -> UnauthenticatedError:
    # One answer for wrong, expired, used and unknown: guessing learns nothing from it.
    return UnauthenticatedError("code_invalid", "This code is not valid. Ask for a new one.")
