"""The RPCs of ams.identity.v1.SecondFactorService: factors enrolled, removed, and asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1 import second_factor_service_pb2 as pb
from ams.identity.v1 import second_factor_service_pb2_grpc as rpc
from ams.identity.v1.notifications_pb2 import RecoveryCodesMade, SecondFactorChanged
from ams.identity.v1.second_factors_pb2 import SecondFactorChallenge
from ams.policy.v1.policy_pb2 import Role
from ams_common.clock import Clock, to_timestamp
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError, NotFoundError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from identity_svc import roles, second_factors, token_ends
from identity_svc.addresses import trimmed
from identity_svc.factor_checks import FactorChecks, proof_invalid
from identity_svc.messages import passkey_message
from identity_svc.notices import tell
from identity_svc.records import Account, FactorChallenge, Factors
from identity_svc.rpc.session_service import current_session_id
from identity_svc.second_factor_store import SecondFactorStore
from identity_svc.sessions import SessionIssuer
from identity_svc.store import Store
from identity_svc.vault import DEVICE_TTL, token_hash

MOST_PASSKEYS = 20


@dataclass(kw_only=True, eq=False, repr=False)
class SecondFactorService(rpc.SecondFactorServiceServicer):
    database: Database[Store]
    checks: FactorChecks
    session_issuer: SessionIssuer
    clock: Clock

    async def GetSecondFactors(
        self, request: pb.GetSecondFactorsRequest, context: Context
    ) -> pb.SecondFactors:
        async with self.database.read() as store:
            return await self._message(store, current_user_id())

    async def StartPasskey(
        self, request: pb.StartPasskeyRequest, context: Context
    ) -> pb.StartPasskeyResponse:
        now = self.clock()
        async with self.database.change() as change:
            account, _ = await self._changing(change, now)
            store, challenge_id = SecondFactorStore(change.connection), uuid7()
            passkeys = await store.list_passkeys(user_id=account.user_id)
            if len(passkeys) >= MOST_PASSKEYS:
                raise FailedPreconditionError("too_many_passkeys", f"You have {MOST_PASSKEYS} passkeys.")
            options, challenge = self.checks.relying_party.creation_options(
                account.user_id, account.email, account.name, passkeys
            )
            await store.insert_factor_challenge(
                challenge_id=challenge_id,
                user_id=account.user_id,
                purpose="add_passkey",
                active_role=None,
                session_id=current_session_id(),
                webauthn_challenge=challenge,
                now=now,
                expires_at=now + second_factors.TTL,
            )
            change.nothing_to_audit()
        return pb.StartPasskeyResponse(challenge_id=str(challenge_id), creation_options_json=options)

    async def AddPasskey(self, request: pb.AddPasskeyRequest, context: Context) -> pb.AddSecondFactorResponse:
        now, name = self.clock(), trimmed(request.name)
        async with self.database.change() as change:
            account, factors = await self._changing(change, now)
            challenge = await self.checks.spend_attempt(
                change, UUID(request.challenge_id), "add_passkey", now, current_session_id()
            )
            made = self.checks.relying_party.made(request.passkey_json, challenge.webauthn_challenge)
            store = SecondFactorStore(change.connection)
            if made is None or not await store.insert_passkey(
                passkey_id=uuid7(),
                user_id=account.user_id,
                name=name,
                credential_id=made.credential_id,
                public_key=made.public_key,
                sign_count=made.sign_count,
                now=now,
            ):
                raise FailedPreconditionError("passkey_invalid", "This passkey can't be added. Try again.")
            await store.use_factor_challenge(challenge_id=challenge.challenge_id, now=now)
            added = SecondFactorChanged(factor="passkey", passkey_name=name)
            return await self._added(change, account, factors, added, now)

    async def RemovePasskey(self, request: pb.RemovePasskeyRequest, context: Context) -> pb.SecondFactors:
        now, passkey_id = self.clock(), UUID(request.passkey_id)
        async with self.database.change() as change:
            account, _ = await self._changing(change, now)
            store = SecondFactorStore(change.connection)
            name = await store.delete_passkey(passkey_id=passkey_id, user_id=account.user_id)
            if name is None:
                raise NotFoundError("passkey_not_found", "There is no such passkey.")
            removed = SecondFactorChanged(factor="passkey", passkey_name=name, is_removed=True)
            return await self._removed(change, account, removed, now)

    async def StartTotp(self, request: pb.StartTotpRequest, context: Context) -> pb.StartTotpResponse:
        now, secret = self.clock(), second_factors.new_totp_secret()
        async with self.database.change() as change:
            account, _ = await self._changing(change, now)
            sealed = self.checks.vault.seal(secret.encode())
            store = SecondFactorStore(change.connection)
            if not await store.put_totp(user_id=account.user_id, sealed_secret=sealed, now=now):
                raise FailedPreconditionError("totp_exists", "Remove your authenticator app first.")
            change.nothing_to_audit()
        return pb.StartTotpResponse(secret=secret, uri=second_factors.totp_uri(secret, account.email))

    async def ConfirmTotp(
        self, request: pb.ConfirmTotpRequest, context: Context
    ) -> pb.AddSecondFactorResponse:
        now = self.clock()
        async with self.database.change() as change:
            account, factors = await self._changing(change, now)
            if not await self.checks.take_totp(
                change.connection, account.user_id, request.totp_code, now, is_confirmed=False
            ):
                raise FailedPreconditionError(
                    "totp_invalid", "That code is not the app's. Check its clock and try the next one."
                )
            return await self._added(change, account, factors, SecondFactorChanged(factor="totp"), now)

    async def RemoveTotp(self, request: pb.RemoveTotpRequest, context: Context) -> pb.SecondFactors:
        now = self.clock()
        async with self.database.change() as change:
            account, factors = await self._changing(change, now)
            if not factors.has_totp:
                raise NotFoundError("totp_not_found", "There is no authenticator app.")
            await SecondFactorStore(change.connection).delete_totp(user_id=account.user_id)
            removed = SecondFactorChanged(factor="totp", is_removed=True)
            return await self._removed(change, account, removed, now)

    async def MakeRecoveryCodes(
        self, request: pb.MakeRecoveryCodesRequest, context: Context
    ) -> pb.MakeRecoveryCodesResponse:
        now = self.clock()
        async with self.database.change() as change:
            account, factors = await self._changing(change, now)
            if not factors.has_any:
                raise FailedPreconditionError("second_factor_missing", "Add a second factor first.")
            codes = await self._make_codes(change, account.user_id)
            change.audit("user", account.user_id)
            tell(change, account.user_id, now, recovery_codes_made=RecoveryCodesMade())
        return pb.MakeRecoveryCodesResponse(recovery_codes=codes)

    async def StartStepUp(self, request: pb.StartStepUpRequest, context: Context) -> SecondFactorChallenge:
        async with self.database.change() as change:
            asked = await self.checks.ask(
                change, current_user_id(), "step_up", self.clock(), session_id=current_session_id()
            )
            change.nothing_to_audit()
        if asked is None:
            raise FailedPreconditionError("second_factor_missing", "You have no second factor to prove.")
        return asked

    async def CompleteStepUp(self, request: pb.CompleteStepUpRequest, context: Context) -> pb.SecondFactors:
        now, session_id, user_id = self.clock(), current_session_id(), current_user_id()
        async with self.database.change() as change:
            challenge = await self.checks.spend_attempt(
                change, UUID(request.challenge_id), "step_up", now, session_id
            )
            method = await self.checks.check(change, challenge, request.proof, now)
            change.audit("user", user_id, method=method or "refused")
            if method:
                await SecondFactorStore(change.connection).prove_session(session_id=session_id, now=now)
            answer = await self._message(change.store, user_id)
        # Only now: raised inside, it would take the counted attempt back.
        if not method:
            raise proof_invalid()
        return answer

    async def CompleteSignIn(
        self, request: pb.CompleteSignInRequest, context: Context
    ) -> identity_pb.Session:
        now = self.clock()
        session: identity_pb.Session | None = None
        async with self.database.change() as change:
            challenge = await self.checks.spend_attempt(change, UUID(request.challenge_id), "sign_in", now)
            method = await self.checks.check(change, challenge, request.proof, now)
            change.actor = str(challenge.user_id)  # the address is proven; nobody was signed in yet
            change.audit("user", challenge.user_id, method=method or "refused")
            if method:
                session = await self._begin(change, challenge, request.device_tokens, now)
        if session is None:
            raise proof_invalid()
        return session

    async def _begin(
        self, change: Change[Store], challenge: FactorChallenge, device_tokens: Sequence[str], now: datetime
    ) -> identity_pb.Session:
        role = challenge.active_role
        wanted = roles.role_of(role) if role is not None else Role.ROLE_UNSPECIFIED
        session = await self.session_issuer.begin(
            change.store,
            challenge.user_id,
            wanted,
            now,
            second_factor_at=now,
        )
        vault, email = self.checks.vault, session.user.email
        device_id = vault.device_of(email, device_tokens, now) or uuid7()
        session.device_token = vault.device_token(email, device_id, now + DEVICE_TTL)
        return session

    async def _changing(self, change: Change[Store], now: datetime) -> tuple[Account, Factors]:
        """Whose factors are being changed, by one at a time. Raises PermissionDeniedError when a second
        factor has to be proven first."""
        user_id, store = current_user_id(), SecondFactorStore(change.connection)
        await store.lock_user(user_id=user_id)
        account = await change.store.find_account(user_id=user_id)
        factors = await store.find_factors(user_id=user_id)
        if account is None or factors is None:
            raise NotFoundError("user_not_found", "There is no such user.")
        proven_at = await store.proven_at(session_id=current_session_id())
        if factors.has_any and not second_factors.is_recent(proven_at, now):
            raise PermissionDeniedError("second_factor_required", "Prove a second factor first.")
        return account, factors

    async def _added(
        self,
        change: Change[Store],
        account: Account,
        before: Factors,
        added: SecondFactorChanged,
        now: datetime,
    ) -> pb.AddSecondFactorResponse:
        """With the first factor come recovery codes, and sessions that were begun without one end."""
        codes: Sequence[str] = []
        change.audit("user", account.user_id, factor=added.factor)
        tell(change, account.user_id, now, second_factor_changed=added)
        if not before.has_any:
            codes = await self._make_codes(change, account.user_id)
            session_id = current_session_id()
            await SecondFactorStore(change.connection).prove_session(session_id=session_id, now=now)
            await token_ends.end_sessions(change, account.user_id, now, session_id)
        message = await self._message(change.store, account.user_id)
        return pb.AddSecondFactorResponse(second_factors=message, recovery_codes=codes)

    async def _removed(
        self, change: Change[Store], account: Account, removed: SecondFactorChanged, now: datetime
    ) -> pb.SecondFactors:
        """Raises FailedPreconditionError for the last factor of an admin who needs one."""
        store = SecondFactorStore(change.connection)
        left = await store.find_factors(user_id=account.user_id)
        assert left is not None, "a row of counts"
        if not left.has_any:
            if self.session_issuer.is_second_factor_needed(account):
                raise FailedPreconditionError(
                    "second_factor_needed", "An admin needs a second factor: add another one first."
                )
            await store.delete_recovery_codes(user_id=account.user_id)
        change.audit("user", account.user_id, factor=removed.factor)
        tell(change, account.user_id, now, second_factor_changed=removed)
        return await self._message(change.store, account.user_id)

    async def _make_codes(self, change: Change[Store], user_id: UUID) -> Sequence[str]:
        store, codes = SecondFactorStore(change.connection), second_factors.new_recovery_codes()
        await store.delete_recovery_codes(user_id=user_id)
        hashes = [token_hash(code) for code in codes]
        await store.insert_recovery_codes(user_id=user_id, code_hashes=hashes)
        return codes

    async def _message(self, store: Store, user_id: UUID) -> pb.SecondFactors:
        factor_store, now = SecondFactorStore(store.connection), self.clock()
        account = await store.find_account(user_id=user_id)
        factors = await factor_store.find_factors(user_id=user_id)
        if account is None or factors is None:
            raise NotFoundError("user_not_found", "There is no such user.")
        passkeys = await factor_store.list_passkeys(user_id=user_id)
        proven_at = await factor_store.proven_at(session_id=current_session_id())
        changeable_until = proven_at + second_factors.RECENT if proven_at is not None else None
        return pb.SecondFactors(
            passkeys=[passkey_message(passkey) for passkey in passkeys],
            has_totp=factors.has_totp,
            recovery_codes_left=factors.recovery_codes,
            is_required=self.session_issuer.is_second_factor_needed(account),
            changeable_until=to_timestamp(changeable_until)
            if changeable_until is not None and second_factors.is_recent(proven_at, now)
            else None,
        )
