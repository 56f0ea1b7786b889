"""RPCs by which somebody proves an address: asking for a code, and giving it back."""

import hmac
from datetime import datetime
from uuid import UUID

import asyncpg
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT, Role
from ams_common.clock import to_timestamp
from ams_common.database import Change
from ams_common.errors import FailedPreconditionError, ResourceExhaustedError, UnauthenticatedError
from ams_common.ids import uuid7

from identity_svc import challenges, invites
from identity_svc.accounts import become_consumer, become_merchant
from identity_svc.addresses import normalise_email, one_line
from identity_svc.challenges import Draft, Purpose
from identity_svc.handlers import Context, Handlers

_ROLES = {
    Purpose.SIGN_IN: Role.ROLE_UNSPECIFIED,
    Purpose.REGISTER_CONSUMER: CONSUMER,
    Purpose.REGISTER_MERCHANT: MERCHANT,
}


def _code_invalid() -> UnauthenticatedError:
    """One answer for wrong, expired, used and unknown."""
    return UnauthenticatedError("code_invalid", "This code is not valid. Ask for a new one.")


def _invite_not_valid() -> FailedPreconditionError:
    """One answer for wrong, expired, used, and meant for another address."""
    return FailedPreconditionError("invite_not_valid", "This invite is not valid for this address.")


class SignInHandlers(Handlers):
    async def StartSignIn(self, request: pb.StartSignInRequest, context: Context) -> pb.Challenge:
        draft = Draft(purpose=Purpose.SIGN_IN, email=normalise_email(request.email))
        async with self._database.change() as change:
            return await self._start(change, draft)

    async def RegisterConsumer(self, request: pb.RegisterConsumerRequest, context: Context) -> pb.Challenge:
        draft = Draft(
            purpose=Purpose.REGISTER_CONSUMER,
            email=normalise_email(request.email),
            name=one_line("name", request.name),
        )
        async with self._database.change() as change:
            return await self._start(change, draft)

    async def RegisterMerchant(self, request: pb.RegisterMerchantRequest, context: Context) -> pb.Challenge:
        email = normalise_email(request.email)
        name, company_name = one_line("name", request.name), one_line("companyName", request.company_name)
        async with self._database.change() as change:
            invite_id = await self._store.find_open_invite(
                change.connection, invites.code_hash(request.invite_code), email, self._clock()
            )
            if invite_id is None:
                raise _invite_not_valid()
            draft = Draft(
                purpose=Purpose.REGISTER_MERCHANT,
                email=email,
                name=name,
                company_name=company_name,
                invite_id=invite_id,
            )
            return await self._start(change, draft)

    async def VerifyChallenge(self, request: pb.VerifyChallengeRequest, context: Context) -> pb.Session:
        now = self._clock()
        async with self._database.change() as change:
            challenge = await self._store.spend_attempt(change.connection, UUID(request.challenge_id), now)
            if challenge is None:
                raise _code_invalid()
            session = await self._complete(change, challenge, request.code, now)
            if session is None:
                change.audit("challenge", request.challenge_id, outcome="refused")
        # Only now: raised inside, it would take the counted attempt back.
        if session is None:
            raise _code_invalid()
        return session

    async def _start(self, change: Change, draft: Draft) -> pb.Challenge:
        """Makes the challenge and queues its mail; the same work whether the address has an account."""
        now = self._clock()
        await self._refuse_too_many(change, draft.email, now)
        challenge_id, code, expires_at = uuid7(), challenges.new_code(), now + challenges.TTL
        code_hash = self._vault.code_hash(challenge_id, code)
        await self._store.insert_challenge(change.connection, challenge_id, draft, code_hash, now, expires_at)
        await self._outgoing.send_code(change.connection, draft, code, now)
        change.audit("challenge", challenge_id)
        return pb.Challenge(challenge_id=str(challenge_id), expires_at=to_timestamp(expires_at))

    async def _refuse_too_many(self, change: Change, email: str, now: datetime) -> None:
        await self._store.lock_address(change.connection, email)
        open_since = await self._store.list_open_challenges(change.connection, email, now)
        if (wait := challenges.wait_before_next(open_since, now)) is not None:
            raise ResourceExhaustedError(
                "too_many_codes",
                "Too many codes were asked for this address. Try again later.",
                retry_after_s=str(int(wait.total_seconds()) + 1),
            )

    async def _complete(
        self, change: Change, challenge: asyncpg.Record, code: str, now: datetime
    ) -> pb.Session | None:
        """Signs in who gave the right code. None for a wrong one, or where there's nobody to sign in."""
        challenge_id: UUID = challenge["challenge_id"]
        given = self._vault.code_hash(challenge_id, challenges.clean_code(code))
        if not hmac.compare_digest(given, challenge["code_hash"]):
            return None
        user_id = await self._admit(change, challenge, now)
        if user_id is None:
            return None
        await self._store.use_challenge(change.connection, challenge_id, now)
        purpose = Purpose(challenge["purpose"])
        change.actor = str(user_id)  # nobody was signed in when the call began
        change.audit("user", user_id, purpose=purpose.value)
        return await self._issuer.begin(change.connection, user_id, _ROLES[purpose], now)

    async def _admit(self, change: Change, challenge: asyncpg.Record, now: datetime) -> UUID | None:
        """The account that the proven address has, or gets by registering."""
        email, name = challenge["email"], challenge["name"]
        match Purpose(challenge["purpose"]):
            case Purpose.SIGN_IN:
                return await self._store.find_user_id(change.connection, email)
            case Purpose.REGISTER_CONSUMER:
                return await become_consumer(self._store, change, email, name, now)
            case Purpose.REGISTER_MERCHANT:
                company_name, invite_id = challenge["company_name"], challenge["invite_id"]
                user_id = await become_merchant(
                    self._store, change, invite_id, email, name, company_name, now
                )
                if user_id is None:
                    raise _invite_not_valid()
                return user_id
