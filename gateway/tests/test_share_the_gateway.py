"""What one consumer or merchant does slowly, or much of, takes nothing from others."""

import asyncio
import contextlib
import socket
import time
from typing import Any

from aiohttp import ClientSession, TCPConnector
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams_common.testing.eventually import eventually
from ams_gateway.testing.consumers import head
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer, echo, serve_merchant
from ams_gateway.testing.narrow import narrow_socket
from ams_gateway.testing.running import GrantedKey, Running
from redis.asyncio import Redis

SLOW_CALLS = 1000
READERS = 100
# At 20 kB/s, as over a slow line.
READ_BYTES, READ_EVERY_S, READINGS = 2_000, 0.1, 20
# What an answer takes that waits behind others' is half a second and more.
OTHERS_CALLS, MOST_WAIT_S = 50, 0.1
# Of an answer that nobody takes: each place where it waits holds 64 KiB and the piece that filled it, of
# 256 KiB at most. Behind the ASGI entry there are two.
MAX_HELD_BYTES = 2 * (256 + 64) * 1024


async def call(
    http: ClientSession, gateway: Running, granted: GrantedKey, path: str = "/x"
) -> tuple[int, str]:
    url = f"{gateway.url}/api/consume/{granted.slug}{path}"
    async with http.get(url, headers={"X-API-Key": granted.key.secret}) as answer:
        await answer.read()
        if answer.content_type != "application/problem+json":
            return answer.status, ""
        assert "Retry-After" in answer.headers
        return answer.status, (await answer.json(content_type=None))["code"]


async def another_consumer(redis: "Redis", granted: GrantedKey) -> GrantedKey:
    other = GrantedKey(redis, granted.base_url, service_id=granted.service_id, slug=granted.slug)
    await other.write_key()
    return other


async def test_one_consumers_slow_calls_leave_the_origin_to_others(
    gateway: Running, granted: GrantedKey, merchant: Merchant, redis: "Redis"
) -> None:
    release = asyncio.Event()

    async def slow(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        if request.target.endswith("/slow"):
            await release.wait()
        await echo(request, reader, writer)

    merchant.answer = slow
    await granted.write_service(forwarding=ForwardingSettings(max_connections=SLOW_CALLS))
    other = await another_consumer(redis, granted)
    async with ClientSession(connector=TCPConnector(limit=0)) as http:
        calling = [asyncio.create_task(call(http, gateway, granted, "/slow")) for _ in range(SLOW_CALLS)]

        async def are_settled() -> bool:
            refused = sum(each.done() for each in calling)
            return refused + len(merchant.requests) == SLOW_CALLS

        await eventually(are_settled)
        under_way = len(merchant.requests)
        assert 0 < under_way <= SLOW_CALLS // 2
        begun_s = time.monotonic()
        for _ in range(OTHERS_CALLS):
            assert await call(http, gateway, other) == (200, "")
        assert time.monotonic() - begun_s < OTHERS_CALLS * MOST_WAIT_S
        # Together, as far as half of what is free goes.
        share = (SLOW_CALLS - under_way) // 2
        answers = await asyncio.gather(*(call(http, gateway, other) for _ in range(share)))
        assert answers == [(200, "")] * share
        # And other origins are no part of it.
        async with serve_merchant() as elsewhere:
            same = await GrantedKey(redis, elsewhere.url(), consumer_id=granted.consumer_id).write()
            assert await call(http, gateway, same) == (200, "")
        release.set()
        answers = await asyncio.gather(*calling)
    assert answers.count((200, "")) == under_way
    assert answers.count((503, "gateway_busy")) == SLOW_CALLS - under_way
    # What was refused is charged to nobody.
    assert len(gateway.events()) == len(merchant.requests) + 1


def held_bytes(gateway: Running) -> int:
    """What lies in the gateway of answers that nobody has taken yet."""
    connections: Any = gateway.runtime.deadlines.connections
    clients: Any = [exchange._client for exchange in gateway.runtime.gateway._exchanges]
    unsent = [int(each._transport.get_write_buffer_size()) for each in connections]
    queued = [int(getattr(client, "_queued_bytes", 0)) for client in clients]
    return sum(unsent) + sum(queued)


async def test_slow_readers_of_large_answers_cost_a_bounded_memory_and_others_nothing(
    gateway: Running, granted: GrantedKey, merchant: Merchant, redis: "Redis"
) -> None:
    async def endless(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        if request.target.endswith("/quick"):
            await echo(request, reader, writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    merchant.answer = endless
    other = await another_consumer(redis, granted)
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack, ClientSession() as http:
        readers = []
        for _ in range(READERS):
            readers.append(reader := stack.enter_context(narrow_socket()))
            reader.setblocking(False)
            await loop.sock_connect(reader, ("127.0.0.1", gateway.port))
            await loop.sock_sendall(reader, head(granted, method="GET", path="/large"))

        async def are_all_full() -> bool:
            clients: list[Any] = [each._client for each in gateway.runtime.gateway._exchanges]
            return len(clients) == READERS and all(client.is_full for client in clients)

        await eventually(are_all_full)
        assert held_bytes(gateway) <= READERS * MAX_HELD_BYTES

        async def read_slowly(reader: socket.socket) -> int:
            read_bytes = 0
            for _ in range(READINGS):
                read_bytes += len(await loop.sock_recv(reader, READ_BYTES))
                await asyncio.sleep(READ_EVERY_S)
            return read_bytes

        reading = asyncio.gather(*(read_slowly(reader) for reader in readers))
        begun_s = time.monotonic()
        for _ in range(OTHERS_CALLS):
            assert await call(http, gateway, other, "/quick") == (200, "")
            assert held_bytes(gateway) <= READERS * MAX_HELD_BYTES
        assert time.monotonic() - begun_s < OTHERS_CALLS * MOST_WAIT_S
        assert set(await reading) == {READ_BYTES * READINGS}
        assert held_bytes(gateway) <= READERS * MAX_HELD_BYTES

    async def are_all_gone() -> bool:
        return gateway.runtime.gateway.in_flight == 0

    await eventually(are_all_gone)
    assert len(gateway.events()) == READERS + OTHERS_CALLS
