"""Sessions seen and ended by their person, and the access tokens that end with them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import session_service_pb2 as session_pb
from ams.identity.v1.token_ends_pb2 import TokenEnd
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common import topics
from ams_common.clients import ADDRESS, DEVICE, VOUCHER
from ams_common.ended_tokens import REMEMBERED_S, EndedTokens
from ams_common.ids import uuid7
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import ACCESS_TOKEN_TTL, TokenVerifier
from identity_svc.retention import purge
from identity_svc.rpc.session_service import list_token_ends

EMAIL, OTHER_EMAIL = "cora@example.com", "otto@example.com"


def from_browser(issuer: TestIssuer, address: str, device: str) -> Sequence[tuple[str, str]]:
    return ((ADDRESS, address), (DEVICE, device), (VOUCHER, issuer.service_token("bff")))


async def ended_tokens(identity: Any) -> EndedTokens:
    """What a service knows that has asked just now."""
    ended = EndedTokens()
    for end in await list_token_ends(identity.servicer.database, 0):
        ended.apply(end)
    return ended


async def refusal_of(identity: Any, session: pb.Session) -> str:
    """The code with which services refuse the session's access token; "" for one that is good."""
    caller = await TokenVerifier(identity.servicer.keyring).verify(session.access_token)
    error = (await ended_tokens(identity)).error_of(caller)
    return error.code if error is not None else ""


async def refresh(identity: Any, session: pb.Session) -> pb.Session:
    answer: pb.Session = await identity.stub.RefreshSession(
        pb.RefreshSessionRequest(refresh_token=session.refresh_token)
    )
    return answer


async def list_sessions(identity: Any, session: pb.Session) -> Sequence[session_pb.ActiveSession]:
    answer = await identity.sessions.ListSessions(
        session_pb.ListSessionsRequest(), metadata=identity.acting(session)
    )
    sessions: Sequence[session_pb.ActiveSession] = answer.sessions
    return sessions


async def test_people_see_where_they_are_signed_in_and_nobody_elses(
    identity: Any, issuer: TestIssuer
) -> None:
    await identity.register_consumer(EMAIL)
    await identity.register_consumer(OTHER_EMAIL)
    challenge = await identity.stub.StartSignIn(pb.StartSignInRequest(email=EMAIL))
    request = pb.VerifyChallengeRequest(
        challenge_id=challenge.challenge_id, code=await identity.code_to(EMAIL)
    )
    browser = from_browser(issuer, "203.0.113.7", "Firefox")
    session = await identity.stub.VerifyChallenge(request, metadata=browser)
    here, elsewhere = await list_sessions(identity, session)
    assert (here.device, here.client_address, here.is_current) == ("Firefox", "203.0.113.7", True)
    assert not elsewhere.is_current
    assert here.expires_at == session.refresh_token_expires_at

    identity.clock.advance(timedelta(hours=1))
    refreshing = pb.RefreshSessionRequest(refresh_token=session.refresh_token)
    browser = from_browser(issuer, "198.51.100.1", "Firefox 2")
    session = await identity.stub.RefreshSession(refreshing, metadata=browser)
    here, _ = await list_sessions(identity, session)
    assert (here.device, here.client_address) == ("Firefox 2", "198.51.100.1")
    assert here.last_used_at.seconds - here.signed_in_at.seconds >= 3600


async def test_a_session_is_ended_from_another_with_its_tokens(identity: Any) -> None:
    here, elsewhere = await identity.register_consumer(EMAIL), await identity.sign_in(EMAIL)
    [other] = [one for one in await list_sessions(identity, here) if not one.is_current]
    end = session_pb.EndSessionRequest(session_id=other.session_id)
    await identity.sessions.EndSession(end, metadata=identity.acting(here))
    assert await refusal_of(identity, elsewhere) == "session_ended"
    assert (await identity.error_of(refresh(identity, elsewhere))).code == "refresh_token_invalid"
    assert await refusal_of(identity, here) == ""
    assert await refresh(identity, here)
    again = await identity.error_of(identity.sessions.EndSession(end, metadata=identity.acting(here)))
    assert (again.grpc_code, again.code) == (grpc.StatusCode.NOT_FOUND, "session_not_found")
    [record] = await identity.audit_records("session.end")
    assert (record.resource_id, record.actor) == (other.session_id, here.user.user_id)
    assert record.credential.startswith("session:")


async def test_nobody_ends_somebody_elses_session(identity: Any) -> None:
    mine, theirs = await identity.register_consumer(EMAIL), await identity.register_consumer(OTHER_EMAIL)
    [other] = await list_sessions(identity, theirs)
    for session_id in (other.session_id, str(uuid7())):
        request = session_pb.EndSessionRequest(session_id=session_id)
        error = await identity.error_of(identity.sessions.EndSession(request, metadata=identity.acting(mine)))
        assert (error.grpc_code, error.code) == (grpc.StatusCode.NOT_FOUND, "session_not_found")
    malformed = await identity.error_of(
        identity.sessions.EndSession(
            session_pb.EndSessionRequest(session_id="1; DROP"), metadata=identity.acting(mine)
        )
    )
    assert malformed.grpc_code == grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal_of(identity, theirs) == ""


async def test_all_other_sessions_end_at_once(identity: Any) -> None:
    sessions = [await identity.register_consumer(EMAIL), *[await identity.sign_in(EMAIL) for _ in range(3)]]
    stranger = await identity.register_consumer(OTHER_EMAIL)
    answer = await identity.sessions.EndOtherSessions(
        session_pb.EndOtherSessionsRequest(), metadata=identity.acting(sessions[1])
    )
    assert answer.ended_count == 3
    codes = [await refusal_of(identity, session) for session in sessions]
    assert codes == ["session_ended", "", "session_ended", "session_ended"]
    assert await refusal_of(identity, stranger) == ""


@pytest.mark.parametrize("rpc", ["EndSession", "EndOtherSessions"])
async def test_a_personal_access_token_ends_no_session(identity: Any, rpc: str) -> None:
    session = await identity.register_consumer(EMAIL)
    metadata = identity.acting(session, credential=f"token:{uuid7()}")
    request = getattr(session_pb, f"{rpc}Request")()
    error = await identity.error_of(getattr(identity.sessions, rpc)(request, metadata=metadata))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "session_required")


async def test_signing_out_and_a_reused_refresh_token_end_access_tokens(identity: Any) -> None:
    out, stolen = await identity.register_consumer(EMAIL), await identity.sign_in(EMAIL)
    await identity.stub.SignOut(pb.SignOutRequest(refresh_token=out.refresh_token))
    assert await refusal_of(identity, out) == "session_ended"
    newest = await refresh(identity, stolen)
    await identity.error_of(refresh(identity, stolen))
    assert await refusal_of(identity, newest) == "session_ended"


async def test_a_changed_standing_ends_tokens_that_say_otherwise_and_a_new_one_is_good(
    identity: Any,
) -> None:
    session = await identity.register_consumer(EMAIL)
    block = pb.BlockConsumerRequest(consumer_id=session.user.user_id)
    await identity.stub.BlockConsumer(block, metadata=identity.admin)
    assert await refusal_of(identity, session) == "token_ended"
    blocked = await refresh(identity, session)
    assert await refusal_of(identity, blocked) == ""
    unblock = pb.UnblockConsumerRequest(consumer_id=session.user.user_id)
    await identity.stub.UnblockConsumer(unblock, metadata=identity.admin)
    assert await refusal_of(identity, blocked) == "token_ended"
    again = await refresh(identity, blocked)
    assert await refusal_of(identity, again) == ""
    assert list(again.user.roles) == [CONSUMER]


async def test_every_end_is_published_once_committed(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    await identity.stub.SignOut(pb.SignOutRequest(refresh_token=session.refresh_token))
    rows = await identity.fetch("SELECT message_key, payload FROM outbox WHERE topic = $1", topics.TOKEN_ENDS)
    [end] = await list_token_ends(identity.servicer.database, 0)
    assert [(row["message_key"].decode(), TokenEnd.FromString(row["payload"])) for row in rows] == [
        (session.user.user_id, end)
    ]


async def test_whoever_reads_on_misses_no_end(identity: Any) -> None:
    """However many end at the same time, versions become visible in their order."""
    sessions = [await identity.register_consumer(f"c{n}@example.com") for n in range(8)]
    seen: list[int] = []

    async def read_on() -> None:
        while len(seen) < len(sessions):
            ended = await list_token_ends(identity.servicer.database, seen[-1] if seen else 0)
            seen.extend(end.version for end in ended)

    reading = asyncio.create_task(read_on())
    outs = [pb.SignOutRequest(refresh_token=session.refresh_token) for session in sessions]
    await asyncio.gather(*(identity.stub.SignOut(out) for out in outs))
    await asyncio.wait_for(reading, 20)
    assert seen == sorted(set(seen))


async def test_an_end_is_kept_as_long_as_a_token_could_be_shown(identity: Any) -> None:
    assert ACCESS_TOKEN_TTL.total_seconds() < REMEMBERED_S
    session = await identity.register_consumer(EMAIL)
    await identity.stub.SignOut(pb.SignOutRequest(refresh_token=session.refresh_token))
    identity.clock.advance(ACCESS_TOKEN_TTL)
    await purge(identity.servicer.database, identity.clock)
    assert len(await list_token_ends(identity.servicer.database, 0)) == 1
    identity.clock.advance(timedelta(seconds=REMEMBERED_S))
    await purge(identity.servicer.database, identity.clock)
    assert await list_token_ends(identity.servicer.database, 0) == []
