import asyncio
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier, sign_user_token
from identity_svc.accounts import appoint_admins

EMAIL = "cora@example.com"


def bearer(token: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {token}"),)


def refresh(token: str, role: Role.ValueType = Role.ROLE_UNSPECIFIED) -> pb.RefreshSessionRequest:
    return pb.RefreshSessionRequest(refresh_token=token, active_role=role)


async def test_a_refresh_token_is_traded_for_new_tokens(identity: Any) -> None:
    first = await identity.register_consumer(EMAIL)
    second = await identity.stub.RefreshSession(refresh(first.refresh_token))
    assert second.refresh_token != first.refresh_token
    assert second.user == first.user
    caller = await TokenVerifier(identity.servicer.keyring).verify(second.access_token)
    assert str(caller.user_id) == first.user.user_id
    [record] = await identity.audit_records("session.refresh")
    assert (record.actor, record.resource) == (first.user.user_id, "session")
    assert await identity.stub.RefreshSession(refresh(second.refresh_token))


async def test_a_refresh_token_used_twice_ends_its_session(identity: Any) -> None:
    first = await identity.register_consumer(EMAIL)
    second = await identity.stub.RefreshSession(refresh(first.refresh_token))
    stolen = await identity.error_of(identity.stub.RefreshSession(refresh(first.refresh_token)))
    assert (stolen.grpc_code, stolen.code) == (grpc.StatusCode.UNAUTHENTICATED, "refresh_token_invalid")
    ended = await identity.error_of(identity.stub.RefreshSession(refresh(second.refresh_token)))
    assert ended.code == "refresh_token_invalid"
    [*_, record] = await identity.audit_records("session.refresh")
    assert dict(record.details) == {"outcome": "reuse_detected"}


async def test_the_end_of_one_session_leaves_the_others(identity: Any) -> None:
    one, other = await identity.register_consumer(EMAIL), await identity.sign_in(EMAIL)
    await identity.stub.RefreshSession(refresh(one.refresh_token))
    await identity.error_of(identity.stub.RefreshSession(refresh(one.refresh_token)))
    assert await identity.stub.RefreshSession(refresh(other.refresh_token))


async def test_a_refresh_token_used_at_once_from_two_sides_is_traded_once(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    calls = [identity.stub.RefreshSession(refresh(session.refresh_token)) for _ in range(4)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    [won] = [answer for answer in answers if isinstance(answer, pb.Session)]
    assert (await identity.error_of(identity.stub.RefreshSession(refresh(won.refresh_token)))).code == (
        "refresh_token_invalid"
    )


async def test_a_session_ends_thirty_days_after_signing_in_however_often_it_is_refreshed(
    identity: Any,
) -> None:
    session = await identity.register_consumer(EMAIL)
    ends_at = session.refresh_token_expires_at
    for _ in range(29):
        identity.clock.advance(timedelta(days=1))
        session = await identity.stub.RefreshSession(refresh(session.refresh_token))
        assert session.refresh_token_expires_at == ends_at
    identity.clock.advance(timedelta(days=1))
    error = await identity.error_of(identity.stub.RefreshSession(refresh(session.refresh_token)))
    assert error.code == "refresh_token_invalid"
    assert await identity.sign_in(EMAIL)


async def appoint(identity: Any, *emails: str) -> None:
    await appoint_admins(identity.servicer.database, emails, identity.clock)


async def test_an_admins_session_ends_after_twelve_hours_in_whichever_role(identity: Any) -> None:
    await identity.register_consumer(EMAIL)
    await appoint(identity, EMAIL)
    session = await identity.sign_in(EMAIL)
    for _ in range(11):
        identity.clock.advance(timedelta(hours=1))
        session = await identity.stub.RefreshSession(refresh(session.refresh_token, CONSUMER))
    identity.clock.advance(timedelta(hours=1))
    error = await identity.error_of(identity.stub.RefreshSession(refresh(session.refresh_token)))
    assert error.code == "refresh_token_invalid"


async def test_who_becomes_an_admin_has_an_admins_session_from_then_on(identity: Any) -> None:
    fresh, old = await identity.register_consumer(EMAIL), await identity.sign_in(EMAIL)
    await appoint(identity, EMAIL)
    fresh = await identity.stub.RefreshSession(refresh(fresh.refresh_token))
    ends_at = fresh.refresh_token_expires_at.ToDatetime(tzinfo=UTC)
    assert ends_at - identity.clock() <= timedelta(hours=12)
    identity.clock.advance(timedelta(hours=12, seconds=1))
    for session in (fresh, old):
        error = await identity.error_of(identity.stub.RefreshSession(refresh(session.refresh_token)))
        assert (error.grpc_code, error.code) == (grpc.StatusCode.UNAUTHENTICATED, "refresh_token_invalid")


async def test_an_unknown_refresh_token_is_refused(identity: Any) -> None:
    error = await identity.error_of(identity.stub.RefreshSession(refresh("A" * 43)))
    assert error.code == "refresh_token_invalid"


async def test_the_active_role_is_chosen_and_kept(identity: Any) -> None:
    await identity.register_consumer(EMAIL)
    session = await identity.register_merchant(EMAIL)
    session = await identity.stub.RefreshSession(refresh(session.refresh_token, CONSUMER))
    assert session.user.active_role == CONSUMER
    session = await identity.stub.RefreshSession(refresh(session.refresh_token))
    assert session.user.active_role == CONSUMER


async def test_a_role_that_is_not_held_is_refused_and_costs_no_token(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    error = await identity.error_of(identity.stub.RefreshSession(refresh(session.refresh_token, ADMIN)))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "role_required")
    assert await identity.stub.RefreshSession(refresh(session.refresh_token))


async def test_a_suspended_merchant_and_a_blocked_consumer_sign_in_without_the_role(
    identity: Any,
) -> None:
    await identity.register_consumer(EMAIL)
    session = await identity.register_merchant(EMAIL)
    user_id = session.user.user_id
    suspension = pb.SuspendMerchantRequest(merchant_id=user_id)
    await identity.stub.SuspendMerchant(suspension, metadata=identity.admin)
    session = await identity.stub.RefreshSession(refresh(session.refresh_token))
    assert (list(session.user.roles), session.user.active_role) == ([CONSUMER], CONSUMER)
    await identity.stub.BlockConsumer(pb.BlockConsumerRequest(consumer_id=user_id), metadata=identity.admin)
    session = await identity.sign_in(EMAIL)
    assert (list(session.user.roles), session.user.active_role) == ([], Role.ROLE_UNSPECIFIED)
    caller = await TokenVerifier(identity.servicer.keyring).verify(session.access_token)
    assert caller.roles == frozenset()
    await identity.stub.ReinstateMerchant(
        pb.ReinstateMerchantRequest(merchant_id=user_id), metadata=identity.admin
    )
    session = await identity.stub.RefreshSession(refresh(session.refresh_token))
    assert list(session.user.roles) == [MERCHANT]


async def test_a_blocked_consumer_is_not_unblocked_by_registering_again(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    request = pb.BlockConsumerRequest(consumer_id=session.user.user_id)
    await identity.stub.BlockConsumer(request, metadata=identity.admin)
    assert list((await identity.register_consumer(EMAIL)).user.roles) == []


async def test_signing_out_ends_the_session(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    request = pb.SignOutRequest(refresh_token=session.refresh_token)
    await identity.stub.SignOut(request)
    assert await identity.error_of(identity.stub.RefreshSession(refresh(session.refresh_token)))
    [record] = await identity.audit_records("session.sign_out")
    assert record.actor == session.user.user_id
    assert await identity.stub.SignOut(request) == pb.SignOutResponse()
    assert await identity.stub.SignOut(pb.SignOutRequest(refresh_token="unknown")) == pb.SignOutResponse()
    assert len(await identity.audit_records("session.sign_out")) == 1


async def test_people_see_themselves(identity: Any, issuer: TestIssuer) -> None:
    session = await identity.register_consumer(EMAIL)
    [row] = await identity.fetch("SELECT user_id FROM users")
    token = issuer.user_token(row["user_id"], CONSUMER)
    me = await identity.stub.GetMe(pb.GetMeRequest(), metadata=bearer(token))
    assert me == session.user


async def test_somebody_blocked_signs_in_and_sees_why(identity: Any, issuer: TestIssuer) -> None:
    session = await identity.register_consumer(EMAIL)
    assert session.user.consumer_standing == STANDING_ACTIVE
    request = pb.BlockConsumerRequest(consumer_id=session.user.user_id)
    await identity.stub.BlockConsumer(request, metadata=identity.admin)
    again = await identity.register_consumer(EMAIL)
    caller = await TokenVerifier(identity.servicer.keyring).verify(again.access_token)
    assert caller.roles == frozenset()
    assert caller.user_id is not None
    token = sign_user_token(issuer.key, caller.user_id, [], Role.ROLE_UNSPECIFIED, utc_now())
    me = await identity.stub.GetMe(pb.GetMeRequest(), metadata=bearer(token))
    assert (list(me.roles), me.consumer_standing, me.merchant_standing) == ([], STANDING_BLOCKED, 0)


async def test_nobody_sees_a_user_that_is_not(identity: Any, issuer: TestIssuer) -> None:
    token = issuer.user_token(uuid7(), CONSUMER)
    error = await identity.error_of(identity.stub.GetMe(pb.GetMeRequest(), metadata=bearer(token)))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.NOT_FOUND, "user_not_found")


async def test_a_service_proves_itself_with_its_own_secret(identity: Any) -> None:
    request = pb.IssueServiceTokenRequest(service="keys-svc", secret="k" * 32)
    answer = await identity.stub.IssueServiceToken(request)
    caller = await TokenVerifier(identity.servicer.keyring).verify(answer.access_token)
    assert (caller.service, caller.user_id, caller.roles) == ("keys-svc", None, frozenset())


@pytest.mark.parametrize(
    ("service", "secret"), [("keys-svc", "g" * 32), ("keys-svc", "x"), ("nobody-svc", "k" * 32)]
)
async def test_a_wrong_service_secret_is_refused_alike(identity: Any, service: str, secret: str) -> None:
    request = pb.IssueServiceTokenRequest(service=service, secret=secret)
    error = await identity.error_of(identity.stub.IssueServiceToken(request))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.UNAUTHENTICATED, "service_secret_invalid")
