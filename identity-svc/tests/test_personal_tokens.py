"""Personal access tokens: made, listed and revoked by their person; what they are traded for."""

from datetime import UTC, timedelta
from typing import Any

import grpc
import jwt
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import token_service_pb2 as token_pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common import personal_tokens
from ams_common.ids import uuid7
from hypothesis import given
from hypothesis import strategies as st
from identity_svc.retention import purge
from identity_svc.rpc.session_service import list_token_ends
from identity_svc.rpc.token_service import MOST_TOKENS

EMAIL, OTHER_EMAIL = "cora@example.com", "otto@example.com"
NAME = "Nightly report"


def wish(role: Role.ValueType = CONSUMER, **fields: Any) -> token_pb.CreateTokenRequest:
    given: dict[str, Any] = {"name": NAME, "scope": token_pb.TOKEN_WRITE, "ttl_days": 30} | fields
    return token_pb.CreateTokenRequest(role=role, **given)


async def create(identity: Any, session: pb.Session, **fields: Any) -> token_pb.CreateTokenResponse:
    made: token_pb.CreateTokenResponse = await identity.tokens.CreateToken(
        wish(**fields), metadata=identity.acting(session)
    )
    return made


async def trade(identity: Any, secret: str) -> token_pb.TradeTokenResponse:
    answer: token_pb.TradeTokenResponse = await identity.tokens.TradeToken(
        token_pb.TradeTokenRequest(secret=secret)
    )
    return answer


async def listed(identity: Any, session: pb.Session) -> list[token_pb.PersonalAccessToken]:
    answer = await identity.tokens.ListTokens(token_pb.ListTokensRequest(), metadata=identity.acting(session))
    return list(answer.tokens)


async def revoke(identity: Any, session: pb.Session, token_id: str) -> token_pb.PersonalAccessToken:
    answer: token_pb.PersonalAccessToken = await identity.tokens.RevokeToken(
        token_pb.RevokeTokenRequest(token_id=token_id), metadata=identity.acting(session)
    )
    return answer


def said(access_token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(access_token, options={"verify_signature": False})
    return claims


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    made = await create(identity, session)
    assert made.secret.startswith(made.token.token_prefix)
    [token] = await listed(identity, session)
    assert token == made.token
    assert (token.name, token.role, token.scope) == (NAME, CONSUMER, token_pb.TOKEN_WRITE)
    [row] = await identity.fetch("SELECT * FROM personal_access_tokens")
    assert made.secret not in str(dict(row))
    assert row["token_hash"] == personal_tokens.hash_token(made.secret)
    [record] = await identity.audit_records("token.create")
    assert made.secret not in str(record)


async def test_whose_token_is_made_is_told_once_without_its_secret(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    key = str(uuid7())
    made = await create(identity, session, idempotency_key=key, scope=token_pb.TOKEN_READ)
    await create(identity, session, idempotency_key=key, scope=token_pb.TOKEN_READ)
    [told] = await identity.told(EMAIL)
    said = told.personal_token_made
    assert (said.token_id, said.token_name, said.token_prefix) == (
        made.token.token_id,
        NAME,
        made.token.token_prefix,
    )
    assert (said.role, said.is_read_only, said.expires_at) == ("consumer", True, made.token.expires_at)
    assert made.secret not in str(told)


@pytest.mark.parametrize(
    ("scope", "is_read_only"), [(token_pb.TOKEN_READ, True), (token_pb.TOKEN_WRITE, False)]
)
async def test_a_token_is_traded_for_one_role_and_its_scope(
    identity: Any, scope: Any, is_read_only: bool
) -> None:
    await identity.register_consumer(EMAIL)
    session = await identity.register_merchant(EMAIL)
    made = await create(identity, session, role=MERCHANT, scope=scope)
    answer = await trade(identity, made.secret)
    claims = said(answer.access_token)
    assert (claims["sub"], claims["roles"]) == (session.user.user_id, ["MERCHANT"])
    assert claims["is_read_only"] is is_read_only
    assert claims["credential"] == f"token:{made.token.token_id}"
    assert answer.expires_at.ToDatetime(tzinfo=UTC) - identity.clock() <= timedelta(minutes=10)
    assert (await listed(identity, session))[0].HasField("last_used_at")


async def test_a_revoked_token_is_good_for_nothing_any_more(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    made = await create(identity, session)
    revoked = await revoke(identity, session, made.token.token_id)
    assert revoked.HasField("revoked_at")
    error = await identity.error_of(trade(identity, made.secret))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.UNAUTHENTICATED, "token_invalid")
    [end] = await list_token_ends(identity.servicer.database, 0)
    assert end.credential == f"token:{made.token.token_id}"
    assert await revoke(identity, session, made.token.token_id) == revoked
    assert len(await identity.audit_records("token.revoke")) == 1


async def test_a_token_expires_and_so_does_what_it_was_traded_for(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    made = await create(identity, session, ttl_days=1)
    identity.clock.advance(timedelta(days=1, minutes=-3))
    answer = await trade(identity, made.secret)
    assert abs(answer.expires_at.seconds - made.token.expires_at.seconds) <= 1
    identity.clock.advance(timedelta(minutes=3))
    assert (await identity.error_of(trade(identity, made.secret))).code == "token_invalid"
    assert len(await listed(identity, session)) == 1
    identity.clock.advance(timedelta(days=31))
    await purge(identity.servicer.database, identity.clock)
    assert await identity.fetch("SELECT * FROM personal_access_tokens") == []


@pytest.mark.parametrize("secret", ["ams_pat_", "x" * 54, "ams_live_" + "a" * 45, ""])
async def test_what_is_no_token_is_refused(identity: Any, secret: str) -> None:
    error = await identity.error_of(trade(identity, secret))
    assert error.code in ("token_invalid", "invalid_argument")
    assert (await identity.error_of(trade(identity, personal_tokens.generate().secret))).code == (
        "token_invalid"
    )


async def test_a_token_follows_its_persons_standing(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    made = await create(identity, session)
    before = said((await trade(identity, made.secret)).access_token)["generation"]
    block = pb.BlockConsumerRequest(consumer_id=session.user.user_id)
    await identity.stub.BlockConsumer(block, metadata=identity.admin)
    error = await identity.error_of(trade(identity, made.secret))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "role_required")
    unblock = pb.UnblockConsumerRequest(consumer_id=session.user.user_id)
    await identity.stub.UnblockConsumer(unblock, metadata=identity.admin)
    assert said((await trade(identity, made.secret)).access_token)["generation"] > before


async def test_a_role_that_is_not_held_is_given_to_no_token(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    for role in (ADMIN, MERCHANT):
        error = await identity.error_of(create(identity, session, role=role))
        assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "role_required")


async def test_nobody_sees_or_revokes_somebody_elses_token(identity: Any) -> None:
    mine, theirs = await identity.register_consumer(EMAIL), await identity.register_consumer(OTHER_EMAIL)
    made = await create(identity, theirs)
    assert await listed(identity, mine) == []
    for token_id in (made.token.token_id, str(uuid7())):
        error = await identity.error_of(revoke(identity, mine, token_id))
        assert (error.grpc_code, error.code) == (grpc.StatusCode.NOT_FOUND, "token_not_found")
    malformed = await identity.error_of(revoke(identity, mine, "x"))
    assert malformed.grpc_code == grpc.StatusCode.INVALID_ARGUMENT
    assert await trade(identity, made.secret)


async def test_a_token_makes_and_revokes_none(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    made = await create(identity, session)
    metadata = identity.acting(session, credential=f"token:{made.token.token_id}")
    for call in (
        identity.tokens.CreateToken(wish(), metadata=metadata),
        identity.tokens.RevokeToken(
            token_pb.RevokeTokenRequest(token_id=made.token.token_id), metadata=metadata
        ),
    ):
        error = await identity.error_of(call)
        assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "session_required")


async def test_a_form_sent_twice_makes_one_token_and_shows_its_secret_once(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    once = await create(identity, session, idempotency_key="k")
    twice = await create(identity, session, idempotency_key="k")
    assert (twice.token, twice.secret) == (once.token, "")
    assert len(await listed(identity, session)) == 1
    [row] = await identity.fetch("SELECT answer FROM idempotent_answers")
    assert once.secret.encode() not in row["answer"]


async def test_tokens_are_bounded_and_a_revoked_one_makes_room(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    made = [await create(identity, session) for _ in range(MOST_TOKENS)]
    error = await identity.error_of(create(identity, session))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, "too_many_tokens")
    await revoke(identity, session, made[0].token.token_id)
    assert await create(identity, session)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "two\nlines"},
        {"scope": token_pb.TOKEN_SCOPE_UNSPECIFIED},
        {"ttl_days": 0},
        {"ttl_days": 367},
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(identity: Any, fields: dict[str, Any]) -> None:
    session = await identity.register_consumer(EMAIL)
    error = await identity.error_of(create(identity, session, **fields))
    assert error.grpc_code == grpc.StatusCode.INVALID_ARGUMENT


@given(st.text(max_size=60))
def test_nothing_but_a_token_has_a_hash(text: str) -> None:
    assert personal_tokens.hash_token(text) is None
    secret = personal_tokens.generate().secret
    assert personal_tokens.hash_token(secret) is not None
    for changed in (secret[:-1], secret + "0", secret[:-1] + chr(ord(secret[-1]) ^ 1), secret.upper()):
        assert personal_tokens.hash_token(changed) is None
