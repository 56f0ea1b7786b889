"""Sessions and counts of REST calls lie in a cluster, or behind TLS and an ACL, as in any other Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_bff.http.sessions import Flash, SessionStore, new_session
from ams_common import ports
from ams_common.clock import to_timestamp, utc_now
from ams_common.redis_client import RedisClient, opened
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.certificates import write_certificate
from ams_local.redis_variants import cluster_url, serve_cluster, serve_redis, serve_tls
from ams_rest.call_limits import CallLimits
from ams_rest.http_errors import CallsLimitedError

_ACL = "user default off\nuser bff on >secret ~ams:* &* +@all\n"
_SERVED = ("cluster", "tls and acl")


@asynccontextmanager
async def _client(kind: str, directory: Path, **options: Any) -> AsyncIterator[RedisClient]:
    if kind == "cluster":
        async with (
            serve_cluster(directory) as nodes,
            opened(cluster_url(nodes), timeout_s=5, **options) as client,
        ):
            yield client
        return
    port, certificate = ports.free_port(), write_certificate(directory)
    async with (
        serve_redis(directory, port, config=_ACL),
        serve_tls(certificate, port) as tls_port,
        opened(
            f"rediss://bff:secret@localhost:{tls_port}/0", ca_file=str(certificate), timeout_s=5, **options
        ) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", _SERVED)
async def test_a_session_begins_is_locked_and_ends(kind: str, tmp_path: Path) -> None:
    async with _client(kind, tmp_path, decode_responses=True) as client:
        store = SessionStore(client, Sealer(DEVELOPMENT_SEALING_KEYS))
        answer = pb.Session(
            access_token="a",
            refresh_token="r",
            access_token_expires_at=to_timestamp(utc_now()),
            user=pb.User(
                user_id="u", email="c@example.com", name="Cora", roles=[CONSUMER], active_role=CONSUMER
            ),
        )
        # Of several, so that they lie on different nodes.
        for _ in range(10):
            session = await store.begin(new_session(), answer)
            await store.keep_notes(session, {"typed": "text"})
            await store.add_flash(session, Flash("Saved."))
            await store.keep_dance(session, "state", {"nonce": "n"})
            loaded = await store.load(session.secret)
            assert loaded is not None and loaded.person is not None
            assert (loaded.person.name, loaded.notes) == ("Cora", {"typed": "text"})
            assert [flash.text for flash in await store.take_flashes(loaded)] == ["Saved."]
            assert await store.take_dance(session, "state") == {"nonce": "n"}
            assert await store.take_dance(session, "state") is None
            held = 0

            async def hold(session: Any = session) -> None:
                nonlocal held
                async with store.lock(session):
                    held += 1
                    assert held == 1
                    await asyncio.sleep(0)
                    held -= 1

            await asyncio.gather(*(hold() for _ in range(3)))
            await store.end(session)
            ended = await store.load(session.secret)
            assert ended is not None and ended.person is None and not ended.notes


@pytest.mark.parametrize("kind", _SERVED)
async def test_calls_are_counted(kind: str, tmp_path: Path) -> None:
    async with _client(kind, tmp_path, retries=0) as client:
        limits = CallLimits(client, 3)
        for _ in range(10):
            token = secrets.token_hex(8)
            outcomes: list[str | int] = []
            for _ in range(5):
                try:
                    allowance = await limits.take(f"Bearer {token}", secrets.token_hex(8))
                except CallsLimitedError as refused:
                    outcomes.append(refused.headers["ratelimit-policy"])
                else:
                    assert allowance is not None
                    outcomes.append(allowance.remaining)
            # Unless a minute begins meanwhile, of whose calls those before count a little less.
            assert outcomes[:3] == [2, 1, 0]
            assert set(outcomes[3:]) <= {'"minute";q=3;w=60', 0}


async def test_a_process_that_is_given_a_cluster_counts_in_it(start_bff: Any, tmp_path: Path) -> None:
    async with serve_cluster(tmp_path) as nodes:
        bff = await asyncio.to_thread(start_bff, BFF_REST_CALLS_PER_MINUTE="3", REDIS_URL=cluster_url(nodes))
        token = secrets.token_hex(8)
        answers = [await asyncio.to_thread(bff.ask, "GET", "/api/v1/me", token=token) for _ in range(4)]
    assert [answer.status for answer in answers] == [503, 503, 503, 429]
