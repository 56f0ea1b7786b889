"""Second factors: added, asked for when signing in and before they change, each good once."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pyotp
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import second_factor_service_pb2 as factor_pb
from ams.identity.v1 import token_service_pb2 as token_pb
from ams.identity.v1.second_factors_pb2 import SecondFactorChallenge, SecondFactorProof
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from ams_common.ids import uuid7
from hypothesis import given
from hypothesis import strategies as st
from identity_svc import second_factors
from identity_svc.accounts import appoint_admins

EMAIL, OTHER_EMAIL = "cora@example.com", "otto@example.com"


def code_of(secret: str, identity: Any, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(identity.clock() + timedelta(seconds=30 * steps))


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def add_totp(identity: Any, session: pb.Session) -> tuple[str, factor_pb.AddSecondFactorResponse]:
    metadata = identity.acting(session)
    secret = (await identity.factors.StartTotp(factor_pb.StartTotpRequest(), metadata=metadata)).secret
    request = factor_pb.ConfirmTotpRequest(totp_code=code_of(secret, identity))
    return secret, await identity.factors.ConfirmTotp(request, metadata=metadata)


async def complete(identity: Any, asked: SecondFactorChallenge, **proof: str) -> pb.Session:
    request = factor_pb.CompleteSignInRequest(
        challenge_id=asked.challenge_id, proof=SecondFactorProof(**proof)
    )
    session: pb.Session = await identity.factors.CompleteSignIn(request)
    return session


async def step_up(identity: Any, session: pb.Session, **proof: str) -> factor_pb.SecondFactors:
    metadata = identity.acting(session)
    asked = await identity.factors.StartStepUp(factor_pb.StartStepUpRequest(), metadata=metadata)
    request = factor_pb.CompleteStepUpRequest(
        challenge_id=asked.challenge_id, proof=SecondFactorProof(**proof)
    )
    answer: factor_pb.SecondFactors = await identity.factors.CompleteStepUp(request, metadata=metadata)
    return answer


async def remove_totp(identity: Any, session: pb.Session) -> factor_pb.SecondFactors:
    answer: factor_pb.SecondFactors = await identity.factors.RemoveTotp(
        factor_pb.RemoveTotpRequest(), metadata=identity.acting(session)
    )
    return answer


async def test_signing_in_asks_for_the_second_factor_and_gives_nothing_before(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    secret, added = await add_totp(identity, session)
    assert added.second_factors.has_totp
    assert len(set(added.recovery_codes)) == second_factors.RECOVERY_CODES
    half = await identity.sign_in(EMAIL)
    assert (half.access_token, half.refresh_token, half.device_token) == ("", "", "")
    assert half.second_factor.has_totp and not half.second_factor.passkey_options_json
    identity.clock.advance(timedelta(minutes=1))
    whole = await complete(identity, half.second_factor, totp_code=code_of(secret, identity))
    assert whole.user == session.user
    assert whole.device_token
    records = await identity.audit_records("sign_in.second_factor")
    assert [(r.actor, dict(r.details)) for r in records] == [(session.user.user_id, {"method": "totp"})]


async def test_a_code_of_an_app_is_good_once(identity: Any) -> None:
    secret, _ = await add_totp(identity, await identity.register_consumer(EMAIL))
    identity.clock.advance(timedelta(minutes=1))
    code = code_of(secret, identity)
    one, other = await identity.sign_in(EMAIL), await identity.sign_in(EMAIL)
    assert (await complete(identity, one.second_factor, totp_code=code)).access_token
    error = await identity.error_of(complete(identity, other.second_factor, totp_code=code))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.UNAUTHENTICATED, "second_factor_invalid")
    again = await identity.error_of(complete(identity, one.second_factor, totp_code=code))
    assert again.code == "second_factor_invalid"


async def test_each_recovery_code_is_good_once_however_it_is_typed(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    _, added = await add_totp(identity, session)
    code = added.recovery_codes[3]
    half = await identity.sign_in(EMAIL)
    typed = f" {code.lower().replace('-', ' ')} "
    assert (await complete(identity, half.second_factor, recovery_code=typed)).access_token
    half = await identity.sign_in(EMAIL)
    assert await identity.error_of(complete(identity, half.second_factor, recovery_code=code))
    metadata = identity.acting(session)
    factors = await identity.factors.GetSecondFactors(factor_pb.GetSecondFactorsRequest(), metadata=metadata)
    assert factors.recovery_codes_left == second_factors.RECOVERY_CODES - 1
    dump = str(await identity.fetch("SELECT code_hash FROM recovery_codes"))
    assert code not in dump


async def test_guessing_a_second_factor_is_bounded_by_challenge_and_account(identity: Any) -> None:
    secret, _ = await add_totp(identity, await identity.register_consumer(EMAIL))
    identity.clock.advance(timedelta(minutes=1))
    codes = []
    for _ in range(4):
        half = await identity.sign_in(EMAIL)
        for _ in range(6):
            call = complete(identity, half.second_factor, totp_code=wrong(code_of(secret, identity)))
            codes.append((await identity.error_of(call)).code)
    # Five of each challenge, ten of the account at once.
    assert codes == ["second_factor_invalid"] * 12 + ["too_many_tries"] * 12
    identity.clock.advance(timedelta(minutes=6))
    half = await identity.sign_in(EMAIL)
    assert await complete(identity, half.second_factor, totp_code=code_of(secret, identity))


async def test_factors_change_only_after_a_recent_proof(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    secret, _ = await add_totp(identity, session)
    identity.clock.advance(second_factors.RECENT)
    error = await identity.error_of(remove_totp(identity, session))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "second_factor_required")
    refused = await identity.error_of(step_up(identity, session, totp_code=wrong(code_of(secret, identity))))
    assert refused.code == "second_factor_invalid"
    assert await identity.error_of(remove_totp(identity, session))
    assert (await step_up(identity, session, totp_code=code_of(secret, identity))).HasField(
        "changeable_until"
    )
    assert not (await remove_totp(identity, session)).has_totp
    assert (await identity.sign_in(EMAIL)).access_token
    assert await identity.fetch("SELECT * FROM recovery_codes") == []


async def test_a_proof_is_of_its_own_session_and_purpose(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    secret, _ = await add_totp(identity, session)
    identity.clock.advance(timedelta(minutes=20))
    half = await identity.sign_in(EMAIL)
    code = code_of(secret, identity)
    request = factor_pb.CompleteStepUpRequest(
        challenge_id=half.second_factor.challenge_id, proof=SecondFactorProof(totp_code=code)
    )
    error = await identity.error_of(
        identity.factors.CompleteStepUp(request, metadata=identity.acting(session))
    )
    assert error.code == "second_factor_invalid"
    asked = await identity.factors.StartStepUp(
        factor_pb.StartStepUpRequest(), metadata=identity.acting(session)
    )
    assert (await identity.error_of(complete(identity, asked, totp_code=code))).code == (
        "second_factor_invalid"
    )
    assert await complete(identity, half.second_factor, totp_code=code)


async def test_the_first_factor_ends_what_was_signed_in_without_one(identity: Any) -> None:
    here, elsewhere = await identity.register_consumer(EMAIL), await identity.sign_in(EMAIL)
    await add_totp(identity, here)
    for session, is_good in ((here, True), (elsewhere, False)):
        call = identity.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=session.refresh_token))
        if is_good:
            assert await call
        else:
            assert (await identity.error_of(call)).code == "refresh_token_invalid"


async def test_an_app_that_was_never_confirmed_is_asked_of_nobody(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    metadata = identity.acting(session)
    first = await identity.factors.StartTotp(factor_pb.StartTotpRequest(), metadata=metadata)
    assert (await identity.sign_in(EMAIL)).access_token
    second = await identity.factors.StartTotp(factor_pb.StartTotpRequest(), metadata=metadata)
    assert first.secret != second.secret
    request = factor_pb.ConfirmTotpRequest(totp_code=code_of(first.secret, identity))
    error = await identity.error_of(identity.factors.ConfirmTotp(request, metadata=metadata))
    assert error.code == "totp_invalid"
    assert second.secret not in str(await identity.fetch("SELECT t::text FROM totp_secrets t"))


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("StartPasskey", {}),
        ("AddPasskey", {"challenge_id": str(uuid7()), "name": "n", "passkey_json": "{}"}),
        ("RemovePasskey", {"passkey_id": str(uuid7())}),
        ("StartTotp", {}),
        ("ConfirmTotp", {"totp_code": "000000"}),
        ("RemoveTotp", {}),
        ("MakeRecoveryCodes", {}),
        ("StartStepUp", {}),
    ],
)
async def test_a_personal_access_token_touches_no_factor(
    identity: Any, rpc: str, fields: dict[str, str]
) -> None:
    session = await identity.register_consumer(EMAIL)
    metadata = identity.acting(session, credential=f"token:{uuid7()}")
    request = getattr(factor_pb, f"{rpc}Request")(**fields)
    error = await identity.error_of(getattr(identity.factors, rpc)(request, metadata=metadata))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "session_required")


@pytest.mark.parametrize("passkey_json", ["{}", "no JSON", '{"id": 1}', "[]", "null"])
async def test_what_is_no_passkey_is_refused(identity: Any, passkey_json: str) -> None:
    session = await identity.register_consumer(EMAIL)
    metadata = identity.acting(session)
    started = await identity.factors.StartPasskey(factor_pb.StartPasskeyRequest(), metadata=metadata)
    request = factor_pb.AddPasskeyRequest(
        challenge_id=started.challenge_id, name="Laptop", passkey_json=passkey_json
    )
    error = await identity.error_of(identity.factors.AddPasskey(request, metadata=metadata))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, "passkey_invalid")
    secret, _ = await add_totp(identity, session)
    half = await identity.sign_in(EMAIL)
    refused = complete(identity, half.second_factor, passkey_json=passkey_json)
    assert (await identity.error_of(refused)).code == "second_factor_invalid"
    assert secret


@pytest.mark.parametrize("admins_need_second_factor", [True])
async def test_an_admin_acts_as_such_only_with_a_second_factor(
    identity: Any, admins_need_second_factor: bool
) -> None:
    await identity.register_consumer(EMAIL)
    await appoint_admins(identity.servicer.database, [EMAIL], identity.clock)
    session = await identity.sign_in(EMAIL)
    assert (list(session.user.roles), session.user.needs_second_factor) == ([CONSUMER], True)
    refresh = pb.RefreshSessionRequest(refresh_token=session.refresh_token, active_role=ADMIN)
    assert (await identity.error_of(identity.stub.RefreshSession(refresh))).code == "role_required"
    secret, _ = await add_totp(identity, session)
    session = await identity.stub.RefreshSession(refresh)
    assert list(session.user.roles) == [ADMIN, CONSUMER]
    assert not session.user.needs_second_factor
    error = await identity.error_of(remove_totp(identity, session))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, "second_factor_needed")
    identity.clock.advance(timedelta(minutes=1))
    half = await identity.sign_in(EMAIL)
    whole = await complete(identity, half.second_factor, totp_code=code_of(secret, identity))
    assert whole.user.active_role == ADMIN


@pytest.mark.parametrize("admins_need_second_factor", [True])
async def test_an_admins_token_is_made_with_a_second_factor_or_is_none(
    identity: Any, admins_need_second_factor: bool
) -> None:
    session = await identity.register_consumer(EMAIL)
    await add_totp(identity, session)
    await appoint_admins(identity.servicer.database, [EMAIL], identity.clock)
    session = await identity.stub.RefreshSession(
        pb.RefreshSessionRequest(refresh_token=session.refresh_token, active_role=ADMIN)
    )
    secrets = {}
    for role in (ADMIN, CONSUMER):
        wish = token_pb.CreateTokenRequest(name="Script", role=role, scope=token_pb.TOKEN_READ, ttl_days=30)
        made = await identity.tokens.CreateToken(wish, metadata=identity.acting(session))
        secrets[role] = token_pb.TradeTokenRequest(secret=made.secret)
        assert (await identity.tokens.TradeToken(secrets[role])).access_token
    # As one that was made before the deployment asked for a second factor.
    async with identity.servicer.database.connection() as connection:
        await connection.execute("UPDATE personal_access_tokens SET second_factor_at = NULL")
    error = await identity.error_of(identity.tokens.TradeToken(secrets[ADMIN]))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "second_factor_needed")
    assert (await identity.tokens.TradeToken(secrets[CONSUMER])).access_token


async def test_nobody_removes_somebody_elses_passkey(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    other = await identity.register_consumer(OTHER_EMAIL)
    passkey_id = uuid7()
    async with identity.servicer.database.connection() as connection:
        await connection.execute(
            "INSERT INTO passkeys VALUES ($1, $2, 'Key', 'c', 'p', 0, now())",
            passkey_id,
            UUID(other.user.user_id),
        )
    request = factor_pb.RemovePasskeyRequest(passkey_id=str(passkey_id))
    error = await identity.error_of(
        identity.factors.RemovePasskey(request, metadata=identity.acting(session))
    )
    assert (error.grpc_code, error.code) == (grpc.StatusCode.NOT_FOUND, "passkey_not_found")


async def test_the_owner_is_told_of_each_change_of_a_second_factor_and_nobody_else_is(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    await identity.register_consumer(OTHER_EMAIL)
    metadata, owner = identity.acting(session), UUID(session.user.user_id)
    await add_totp(identity, session)
    async with identity.servicer.database.connection() as connection:
        await connection.execute(
            "INSERT INTO passkeys VALUES ($1, $2, 'Laptop', 'c', 'p', 0, now())", passkey_id := uuid7(), owner
        )
    remove = factor_pb.RemovePasskeyRequest(passkey_id=str(passkey_id))
    await identity.factors.RemovePasskey(remove, metadata=metadata)
    assert await identity.error_of(identity.factors.RemovePasskey(remove, metadata=metadata))
    await remove_totp(identity, session)
    assert await identity.error_of(remove_totp(identity, session))
    told = await identity.told(EMAIL)
    assert [
        (each.second_factor_changed.factor, each.second_factor_changed.passkey_name, removed)
        for each in told
        for removed in [each.second_factor_changed.is_removed]
    ] == [("totp", "", False), ("passkey", "Laptop", True), ("totp", "", True)]
    assert {each.user_id for each in told} == {str(owner)}
    assert await identity.told(OTHER_EMAIL) == []


async def test_the_owner_is_told_of_recovery_codes_that_are_made_and_used(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    secret, added = await add_totp(identity, session)
    request, metadata = factor_pb.MakeRecoveryCodesRequest(), identity.acting(session)
    codes = (await identity.factors.MakeRecoveryCodes(request, metadata=metadata)).recovery_codes
    half = await identity.sign_in(EMAIL)
    # One of those before, and a code that is none, open nothing and are told nobody.
    for wrong_code in (added.recovery_codes[0], "0000-0000-0000"):
        refused = complete(identity, half.second_factor, recovery_code=wrong_code)
        assert (await identity.error_of(refused)).code == "second_factor_invalid"
    await complete(identity, half.second_factor, recovery_code=codes[0])
    await step_up(identity, session, recovery_code=codes[1])
    identity.clock.advance(timedelta(minutes=1))
    await step_up(identity, session, totp_code=code_of(secret, identity))
    told = await identity.told(EMAIL)
    assert [each.WhichOneof("message") for each in told] == [
        "second_factor_changed",
        "recovery_codes_made",
        "recovery_code_used",
        "recovery_code_used",
    ]
    assert [each.recovery_code_used.codes_left for each in told[2:]] == [9, 8]
    assert not any(code in str(each) for each in told for code in codes)


@given(st.text(max_size=20), st.integers(86_400, 2_000_000_000))
def test_nothing_but_a_present_code_is_one(text: str, second: int) -> None:
    now, secret = datetime.fromtimestamp(second, UTC), pyotp.random_base32()
    app = pyotp.TOTP(secret)
    step = second // 30
    assert second_factors.totp_step(secret, app.at(now), now, step - 1) == step
    assert second_factors.totp_step(secret, app.at(now), now, step) is None
    near = {app.at((step + offset) * 30) for offset in (-1, 0, 1)}
    taken = second_factors.totp_step(secret, text, now, 0)
    assert (taken is not None) == (text.replace(" ", "") in near)
