"""A gateway that may open few files: no merchant and no crowd of clients takes the last of them."""

import asyncio
import contextlib
from collections import Counter
from uuid import uuid4

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from ams_gateway.descriptors import ConnectionCaps, share_out
from ams_gateway.http.targets import origin_of
from ams_gateway.settings import Settings
from ams_gateway.testing.consumers import Consumer
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer, echo, serve_merchant
from ams_gateway.testing.processes import gateway_process
from ams_gateway.testing.running import GrantedKey
from ams_gateway.upstream.pool import BusyError, Pool, PoolLimits
from redis.asyncio import Redis

TOPIC_OF_NOBODY = "gateway-tests.usage.events"
# The soft limit would hardly let it start: it is raised to the hard one.
DESCRIPTORS = (48, 256)
CAPS = share_out(DESCRIPTORS[1])
ORIGINS = 8
UNREAD_BYTES = 100_000


def url(port: int, granted: GrantedKey) -> str:
    return f"http://127.0.0.1:{port}/api/consume/{granted.slug}/x"


async def call(http: ClientSession, port: int, granted: GrantedKey) -> tuple[int, str]:
    async with http.get(url(port, granted), headers={"X-API-Key": granted.key.secret}) as answer:
        await answer.read()
        if answer.content_type != "application/problem+json":
            return answer.status, ""
        return answer.status, f"{(await answer.json())['code']} {answer.headers.get('Retry-After')}"


async def until_served(http: ClientSession, port: int, granted: GrantedKey) -> None:
    async def is_served() -> bool:
        with contextlib.suppress(ClientError, OSError):
            return await call(http, port, granted) == (200, "")
        return False

    await eventually(is_served)


async def test_one_merchants_slow_calls_to_many_origins_leave_connections_to_another(
    settings: Settings, granted: GrantedKey, redis: "Redis"
) -> None:
    release, arrived = asyncio.Event(), Counter[str]()

    async def slow(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        arrived["requests"] += 1
        await release.wait()
        await echo(request, reader, writer)

    merchant_id, calls_each = str(uuid4()), CAPS.upstreams // ORIGINS + 2
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(
            gateway_process(port, settings, TOPIC_OF_NOBODY, descriptors=DESCRIPTORS)
        )
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        await until_served(http, port, granted)
        greedy = []
        for _ in range(ORIGINS):
            origin = await stack.enter_async_context(serve_merchant(slow))
            service = GrantedKey(redis, origin.url())
            await service.write_key()
            await service.write_service(merchant_id=merchant_id)
            greedy.append(service)
        calling = [
            asyncio.create_task(call(http, port, service)) for service in greedy for _ in range(calls_each)
        ]

        async def are_settled() -> bool:
            return sum(each.done() for each in calling) + arrived["requests"] == len(calling)

        await eventually(are_settled)
        assert arrived["requests"] == CAPS.upstreams // 2
        refused = [each.result() for each in calling if each.done()]
        assert set(refused) == {(503, "gateway_busy 1")}
        others = await asyncio.gather(*(call(http, port, granted) for _ in range(CAPS.upstreams // 4)))
        assert set(others) == {(200, "")}
        release.set()
        answers = Counter(await asyncio.gather(*calling))
    assert answers[200, ""] == arrived["requests"]


async def connect(port: int) -> Consumer:
    return Consumer(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))


def close(consumers: list[Consumer]) -> None:
    for consumer in consumers:
        consumer.writer.transport.abort()


async def test_idle_connections_make_room_for_new_ones_longest_first(
    settings: Settings, http: ClientSession, granted: GrantedKey
) -> None:
    port, consumers = free_port(), list[Consumer]()
    request = f"GET {url(port, granted)} HTTP/1.1\r\nHost: g\r\nX-API-Key: {granted.key.secret}\r\n\r\n"
    async with gateway_process(port, settings, TOPIC_OF_NOBODY, descriptors=DESCRIPTORS):
        await until_served(http, port, granted)
        for _ in range(CAPS.clients + 20):
            consumers.append(consumer := await connect(port))
            consumer.send(request.replace(f"http://127.0.0.1:{port}", "").encode())
            assert (await consumer.answer("GET")).status == 200
        assert await consumers[0].rest() == b""
        consumers[-1].send(request.replace(f"http://127.0.0.1:{port}", "").encode())
        assert (await consumers[-1].answer("GET")).status == 200
        close(consumers)


async def test_where_all_connections_are_in_use_a_new_one_is_told_to_come_back(
    settings: Settings, http: ClientSession, granted: GrantedKey
) -> None:
    port, consumers = free_port(), list[Consumer]()
    upload = f"POST /api/consume HTTP/1.1\r\nHost: g\r\nContent-Length: {UNREAD_BYTES}\r\n\r\n".encode()
    async with gateway_process(port, settings, TOPIC_OF_NOBODY, descriptors=DESCRIPTORS):
        await until_served(http, port, granted)
        # Its own connection is idle, and goes first.
        for _ in range(CAPS.clients):
            consumers.append(consumer := await connect(port))
            consumer.send(upload)
            # Refused by now; but the body that it has announced is waited for.
            assert (await consumer.answer()).status == 401
        late = await connect(port)
        answer = await late.answer()
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        assert b"gateway_full" in answer.body and await late.rest() == b""
        close([late, consumers.pop()])
        await until_served(http, port, granted)
        close(consumers)


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 4096, 1 << 20])
def test_a_quarter_at_most_is_the_gateways_own_and_each_call_has_both_its_connections(
    descriptors: int,
) -> None:
    caps = share_out(descriptors)
    own = descriptors - caps.clients - caps.upstreams
    assert own == min(256, descriptors // 4)
    assert caps.clients >= caps.upstreams > 0


def test_with_the_usual_limit_there_is_room_for_hundreds_of_calls() -> None:
    assert share_out(1024) == ConnectionCaps(clients=512, upstreams=256)


async def test_a_full_pool_closes_what_whoever_has_most_of_leaves_unused(merchant: Merchant) -> None:
    pool = Pool(PoolLimits(max_in_all=4))
    origins = [origin_of(f"{number}.example.com", merchant.port, False) for number in range(3)]
    opened = [await pool.connect(origins[0], ["127.0.0.1"], "greedy") for _ in range(3)]
    other = await pool.connect(origins[1], ["127.0.0.1"], "other")
    for number, connection in enumerate(opened):
        connection.idle_since_s = 100.0 - number
    assert (await pool.connect(origins[2], ["127.0.0.1"], "new")).is_open
    assert other.is_open and [connection.is_open for connection in opened] == [True, False, False]
    # What made room is counted out once: there is room for one more.
    assert (await pool.connect(origins[2], ["127.0.0.1"], "new")).is_open
    assert other.is_open and opened[0].is_open
    pool.close()
    await asyncio.sleep(0)
    full = Pool(PoolLimits(max_in_all=0))
    with pytest.raises(BusyError):
        await full.connect(origins[0], ["127.0.0.1"], "new")
