"""Asking for a second factor, and checking what is given back: in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from ams.identity.v1.notifications_pb2 import RecoveryCodeUsed
from ams.identity.v1.second_factors_pb2 import SecondFactorChallenge, SecondFactorProof
from ams_common.clock import to_timestamp
from ams_common.database import Change
from ams_common.errors import ResourceExhaustedError, UnauthenticatedError
from ams_common.ids import uuid7

from identity_svc import second_factors
from identity_svc.notices import tell
from identity_svc.passkeys import RelyingParty
from identity_svc.records import FactorChallenge
from identity_svc.second_factor_store import SecondFactorStore
from identity_svc.sign_in_limits import SignInLimits
from identity_svc.store import Store
from identity_svc.vault import Vault, token_hash


@dataclass(frozen=True, slots=True)
class Proof:
    """A second factor that was good: whose, for what, and which kind ("" for one that wasn't)."""

    challenge: FactorChallenge
    method: str


@dataclass(frozen=True, slots=True)
class FactorChecks:
    vault: Vault
    limits: SignInLimits
    relying_party: RelyingParty

    async def ask(
        self,
        change: Change[Store],
        user_id: UUID,
        purpose: str,
        now: datetime,
        *,
        active_role: str | None = None,
        session_id: UUID | None = None,
    ) -> SecondFactorChallenge | None:
        """Asks for one of the person's factors; None for who has none."""
        store = SecondFactorStore(change.connection)
        factors = await store.find_factors(user_id=user_id)
        if factors is None or not factors.has_any:
            return None
        options, challenge = self.relying_party.request_options(await store.list_passkeys(user_id=user_id))
        challenge_id, expires_at = uuid7(), now + second_factors.TTL
        await store.insert_factor_challenge(
            challenge_id=challenge_id,
            user_id=user_id,
            purpose=purpose,
            active_role=active_role,
            session_id=session_id,
            webauthn_challenge=challenge,
            now=now,
            expires_at=expires_at,
        )
        return SecondFactorChallenge(
            challenge_id=str(challenge_id),
            expires_at=to_timestamp(expires_at),
            passkey_options_json=options,
            has_totp=factors.has_totp,
            has_recovery_codes=factors.recovery_codes > 0,
        )

    async def spend_attempt(
        self,
        change: Change[Store],
        challenge_id: UUID,
        purpose: str,
        now: datetime,
        session_id: UUID | None = None,
    ) -> FactorChallenge:
        """Counts the attempt before anything is looked at. Raises UnauthenticatedError for a challenge that
        isn't good."""
        store = SecondFactorStore(change.connection)
        challenge = await store.spend_factor_attempt(
            challenge_id=challenge_id,
            purpose=purpose,
            session_id=session_id,
            now=now,
            max_attempts=second_factors.MAX_ATTEMPTS,
        )
        if challenge is None:
            raise proof_invalid()
        return challenge

    async def check(
        self, change: Change[Store], challenge: FactorChallenge, given: SecondFactorProof, now: datetime
    ) -> str:
        """The kind of factor that the proof is of, whose challenge is used up; "" for one that isn't good.

        Raises ResourceExhaustedError when the account has had too many wrong proofs.
        """
        spent = await self.limits.prove(change.connection, str(challenge.user_id), now)
        if spent.wait is not None:
            raise ResourceExhaustedError(
                "too_many_tries",
                "Too many second factors were wrong. Try again later.",
                retry_after_s=str(int(spent.wait.total_seconds()) + 1),
            )
        method = await self._method(change.connection, challenge, given, now)
        if method:
            store = SecondFactorStore(change.connection)
            await store.use_factor_challenge(challenge_id=challenge.challenge_id, now=now)
            await self.limits.give_back(change.connection, spent.keys, spent.refills)
        if method == "recovery_code":
            factors = await SecondFactorStore(change.connection).find_factors(user_id=challenge.user_id)
            assert factors is not None, "a row of counts"
            used = RecoveryCodeUsed(codes_left=factors.recovery_codes)
            tell(change, challenge.user_id, now, recovery_code_used=used)
        return method

    async def _method(
        self,
        connection: asyncpg.Connection,
        challenge: FactorChallenge,
        given: SecondFactorProof,
        now: datetime,
    ) -> str:
        store, user_id = SecondFactorStore(connection), challenge.user_id
        if given.passkey_json:
            passkeys = await store.list_passkeys(user_id=user_id)
            used = self.relying_party.used(given.passkey_json, challenge.webauthn_challenge, passkeys)
            if used is None:
                return ""
            await store.use_passkey(passkey_id=used[0].passkey_id, sign_count=used[1], now=now)
            return "passkey"
        if given.totp_code:
            is_good = await self.take_totp(connection, user_id, given.totp_code, now, is_confirmed=True)
            return "totp" if is_good else ""
        hashed = token_hash(second_factors.clean_recovery_code(given.recovery_code))
        is_good = await store.use_recovery_code(user_id=user_id, code_hash=hashed, now=now) == 1
        return "recovery_code" if is_good else ""

    async def take_totp(
        self, connection: asyncpg.Connection, user_id: UUID, code: str, now: datetime, *, is_confirmed: bool
    ) -> bool:
        """Takes a code of the person's authenticator app, once; `is_confirmed`: of one that is in use, else
        of one that is being added."""
        store = SecondFactorStore(connection)
        totp = await store.find_totp(user_id=user_id)
        if totp is None or (totp.confirmed_at is not None) != is_confirmed:
            return False
        secret = self.vault.unseal(totp.sealed_secret).decode()
        step = second_factors.totp_step(secret, code, now, totp.last_step)
        if step is None:
            return False
        await store.use_totp(user_id=user_id, step=step, now=now)
        return True


def proof_invalid() -> UnauthenticatedError:
    """One answer for whatever is wrong with a proof or its challenge."""
    return UnauthenticatedError("second_factor_invalid", "That second factor is not valid. Try again.")
