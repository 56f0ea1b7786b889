"""The RPCs by which somebody proves an address: asking for a code, and giving it back."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT, Role
from ams_common.clients import client_network
from ams_common.clock import Clock, to_timestamp
from ams_common.context import current_caller, current_client_address
from ams_common.database import Change, Database
from ams_common.errors import ResourceExhaustedError, UnauthenticatedError
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from identity_svc import challenges, invites, roles
from identity_svc.accounts import become_consumer, become_merchant
from identity_svc.addresses import normalise_email, trimmed
from identity_svc.challenges import Purpose
from identity_svc.factor_checks import FactorChecks
from identity_svc.mails import MailQueue
from identity_svc.platform_settings import SettingsStore, require_admissible
from identity_svc.records import Challenge
from identity_svc.sessions import SessionIssuer
from identity_svc.sign_in_limits import Asker, SignInLimits, Spent
from identity_svc.sign_in_store import SignInStore
from identity_svc.store import Store
from identity_svc.tries import Outcome, TryCounts
from identity_svc.vault import DEVICE_TTL, Vault

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
    limits: SignInLimits
    tries: TryCounts
    factors: FactorChecks
    clock: Clock

    async def StartSignIn(self, request: pb.StartSignInRequest, context: Context) -> pb.Challenge:
        async with self.database.change() as change:
            email = normalise_email(request.email)
            return await self._start(change, Purpose.SIGN_IN, email, request.device_tokens)

    async def RegisterConsumer(self, request: pb.RegisterConsumerRequest, context: Context) -> pb.Challenge:
        email, name = normalise_email(request.email), trimmed(request.name)
        async with self.database.change() as change:
            # Whether the address has an account isn't looked at: the answer would tell. Who is signed in with
            # it has one, and may become a consumer too.
            if not await _is_callers(change, email):
                require_admissible(await SettingsStore(change.connection).find_settings(), email)
            tokens = request.device_tokens
            return await self._start(change, Purpose.REGISTER_CONSUMER, email, tokens, name=name)

    async def RegisterMerchant(self, request: pb.RegisterMerchantRequest, context: Context) -> pb.Challenge:
        email, name = normalise_email(request.email), trimmed(request.name)
        company_name = trimmed(request.company_name)
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
                request.device_tokens,
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
            spent, asker = await self._spend_guess(change, challenge, request, now)
            user_id = None
            if challenge is not None and asker is not None and self._is_right(challenge, request.code):
                user_id = await self._prove(change, challenge, now)
            if user_id is None:
                change.nothing_to_audit()
            else:
                assert challenge is not None and asker is not None, "nothing else is proven"
                await self.limits.give_back(change.connection, spent.keys, spent.refills)
                change.actor = str(user_id)  # nobody was signed in when the call began
                change.audit("user", user_id, purpose=challenge.purpose)
                role = _ROLES[Purpose(challenge.purpose)]
                asked = await self.factors.ask(
                    change, user_id, "sign_in", now, active_role=roles.role_text(role)
                )
                if asked is not None:
                    session = pb.Session(second_factor=asked)
                else:
                    session = await self.session_issuer.begin(change.store, user_id, role, now)
                    session.device_token = self._device_token(asker, now)
        if challenge is not None and user_id is not None:
            # Not inside: there this call holds what others wait for who hold these.
            async with self.database.connection() as connection:
                await self.limits.give_back_one_by_one(
                    connection, challenge.spent_keys, challenge.spent_refills
                )
        # Only now: raised inside, it would take the counted attempt back.
        self.tries.count(Outcome.SIGNED_IN if session is not None else Outcome.CODE_WRONG)
        if session is None:
            raise _code_invalid()
        return session

    async def _spend_guess(
        self,
        change: Change[Store],
        challenge: Challenge | None,
        request: pb.VerifyChallengeRequest,
        now: datetime,
    ) -> tuple[Spent, Asker | None]:
        """Counts the guess before the code is looked at. Raises ResourceExhaustedError, which also takes the
        challenge's attempt back, when there have been too many."""
        network = client_network(current_client_address())
        if challenge is None:
            spent, asker = await self.limits.guess_at_nothing(change.connection, network, now), None
        else:
            asker = self._asker(challenge.email, request.device_tokens, now)
            spent = await self.limits.guess(change.connection, asker, now)
        if spent.wait is not None:
            self.tries.count(Outcome.GUESS_REFUSED)
            raise _too_many("too_many_tries", "Too many codes were wrong. Try again later.", spent.wait)
        return spent, asker

    def _is_right(self, challenge: Challenge, code: str) -> bool:
        given = self.vault.code_hash(challenge.challenge_id, challenges.clean_code(code))
        return hmac.compare_digest(given, challenge.code_hash)

    async def _prove(self, change: Change[Store], challenge: Challenge, now: datetime) -> UUID | None:
        """Uses the code up, for every challenge that asks for it. The account, or None."""
        if challenge.code_id is not None and not await SignInStore(change.connection).use_code(
            code_id=challenge.code_id, now=now
        ):
            return None
        await change.store.use_challenge(challenge_id=challenge.challenge_id, now=now)
        return await self._find_or_make_account(change, challenge, now)

    def _asker(self, email: str, device_tokens: Sequence[str], now: datetime) -> Asker:
        device_id = self.vault.device_of(email, device_tokens, now)
        network = client_network(current_client_address())
        return Asker(email, network, str(device_id) if device_id is not None else None)

    def _device_token(self, asker: Asker, now: datetime) -> str:
        device_id = UUID(asker.device_id) if asker.device_id is not None else uuid7()
        return self.vault.device_token(asker.email, device_id, now + DEVICE_TTL)

    async def _start(
        self,
        change: Change[Store],
        purpose: Purpose,
        email: str,
        device_tokens: Sequence[str],
        *,
        name: str | None = None,
        company_name: str | None = None,
        invite_id: UUID | None = None,
    ) -> pb.Challenge:
        """Makes a challenge and queues its mail; the same work whether the address has an account.

        Who asks while a code is good gets a challenge of their own for that code, mailed again as far as the
        address's mails allow: nobody's asking refuses anybody else. Raises ResourceExhaustedError when who
        asks has asked too often, or no code is good and none can be mailed.
        """
        now = self.clock()
        asker = self._asker(email, device_tokens, now)
        # One at a time from here: asks that come at once share a code.
        await change.store.lock_address(email=email)
        spent = await self._spend_ask(change, asker, now)
        codes = SignInStore(change.connection)
        least = challenges.ASKED_AGAIN_WITH if spent.wait is not None else challenges.MAILED_AGAIN_WITH
        earlier = await codes.find_open_code(email=email, purpose=purpose.value, good_until=now + least)
        if earlier is None and spent.wait is not None:
            self.tries.count(Outcome.ASK_REFUSED)
            raise _too_many_codes(spent.wait)
        if earlier is not None:
            code_id, expires_at = earlier.code_id, earlier.expires_at
            code = self.vault.unseal(earlier.sealed_code).decode()
        else:
            code_id, code, expires_at = uuid7(), challenges.new_code(), now + challenges.TTL
            await codes.insert_code(
                code_id=code_id,
                email=email,
                purpose=purpose.value,
                sealed_code=self.vault.seal(code.encode()),
                now=now,
                expires_at=expires_at,
            )
        challenge_id = uuid7()
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
            code_id=code_id,
            spent_keys=spent.keys,
            spent_refills=spent.refills,
        )
        is_mailed = spent.wait is None
        if is_mailed:
            await self.mail_queue.send_code(change.store, email, code, purpose, expires_at, now)
        change.nothing_to_audit()  # anybody may ask for anybody's
        self.tries.count(Outcome.CODE_MAILED if is_mailed else Outcome.CODE_ASKED_AGAIN)
        return pb.Challenge(
            challenge_id=str(challenge_id),
            expires_at=to_timestamp(expires_at),
            is_earlier_code=not is_mailed,
        )

    async def _spend_ask(self, change: Change[Store], asker: Asker, now: datetime) -> Spent:
        """What asking and the mail use up; with a `wait` when no mail may be sent. Raises
        ResourceExhaustedError when who asks has asked too often."""
        connection = change.connection
        if asker.device_id is not None:
            spent = await self.limits.mail_to_device(connection, asker.device_id, now)
            if spent.wait is None:
                return spent
        asked = await self.limits.ask(connection, asker, now)
        if asked.wait is not None:
            self.tries.count(Outcome.ASK_REFUSED)
            raise _too_many_codes(asked.wait)
        mailed = await self.limits.mail_to_stranger(connection, asker, now)
        return Spent(asked.keys + mailed.keys, asked.refills + mailed.refills, mailed.wait)

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


def _too_many_codes(wait: timedelta) -> ResourceExhaustedError:
    return _too_many("too_many_codes", "Too many codes were asked for. Try again later.", wait)


def _too_many(code: str, message: str, wait: timedelta) -> ResourceExhaustedError:
    return ResourceExhaustedError(code, message, retry_after_s=str(int(wait.total_seconds()) + 1))


async def _is_callers(change: Change[Store], email: str) -> bool:
    user_id = current_caller().user_id
    return user_id is not None and await change.store.find_address(user_id=user_id) == email


def _code_invalid() -> UnauthenticatedError:
    # One answer for wrong, expired, used and unknown: guessing learns nothing from it.
    return UnauthenticatedError("code_invalid", "This code is not valid. Ask for a new one.")
