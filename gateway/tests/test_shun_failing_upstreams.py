"""A merchant's API that is down is left alone for a while, then asked by one call, and is back with it."""

import asyncio

from aiohttp import ClientSession
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from ams_gateway.testing.merchants import (
    Merchant,
    Reader,
    RecordedRequest,
    Writer,
    echo,
    never_answer,
    respond_with,
    serve_merchant,
)
from ams_gateway.testing.running import GrantedKey, Running
from redis.asyncio import Redis


async def call(http: ClientSession, gateway: Running, granted: GrantedKey) -> tuple[int, str]:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        if answer.content_type != "application/problem+json":
            return answer.status, ""
        code = (await answer.json(content_type=None))["code"]
        if code == "upstream_failing":
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status, code


async def test_a_dead_upstream_is_refused_at_once_until_a_probe_finds_it_alive(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, redis: "Redis"
) -> None:
    merchant.answer = respond_with(b"", then_close=True)
    answers = [await call(http, gateway, granted) for _ in range(5)]
    assert answers == [(502, "upstream_failed")] * 5
    assert await call(http, gateway, granted) == (503, "upstream_failing")
    assert len(merchant.requests) == 5
    # One merchant's failing is nobody else's.
    async with serve_merchant() as another:
        other = await GrantedKey(redis, another.url()).write()
        assert await call(http, gateway, other) == (200, "")

    async def probed() -> bool:
        await call(http, gateway, granted)
        return len(merchant.requests) == 6

    await eventually(probed)
    # It failed still: one call told that, and no other was made.
    assert await call(http, gateway, granted) == (503, "upstream_failing")
    merchant.answer = echo

    async def recovered() -> bool:
        return await call(http, gateway, granted) == (200, "")

    await eventually(recovered)
    assert await asyncio.gather(*(call(http, gateway, granted) for _ in range(10))) == [(200, "")] * 10
    # What was refused is charged to nobody: no event says so.
    assert {event.status_code for event in gateway.events()} == {502, 200}


async def test_a_port_that_nobody_listens_at_is_refused_at_once_after_some_calls(
    gateway: Running, http: ClientSession, redis: "Redis"
) -> None:
    granted = await GrantedKey(redis, f"http://127.0.0.1:{free_port()}").write()
    codes = [(await call(http, gateway, granted))[1] for _ in range(7)]
    assert codes == ["upstream_unreachable"] * 5 + ["upstream_failing"] * 2
    assert gateway.events() == []


async def test_only_one_call_at_a_time_probes(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = respond_with(b"", then_close=True)
    for _ in range(5):
        await call(http, gateway, granted)
    merchant.answer = never_answer
    probes: list[asyncio.Task[tuple[int, str]]] = []

    async def is_probing() -> bool:
        probes.append(asyncio.create_task(call(http, gateway, granted)))
        await asyncio.sleep(0.1)
        return len(merchant.requests) == 6

    await eventually(is_probing)
    answers = await asyncio.gather(*(call(http, gateway, granted) for _ in range(5)))
    assert answers == [(503, "upstream_failing")] * 5
    assert len(merchant.requests) == 6
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)


async def test_answers_of_5xx_and_consumers_who_hang_up_say_nothing_against_an_upstream(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = respond_with(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    for _ in range(10):
        assert await call(http, gateway, granted) == (500, "")

    async def wait(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        await reader.read()

    merchant.answer = wait
    calling = [asyncio.create_task(call(http, gateway, granted)) for _ in range(10)]

    async def all_came() -> bool:
        return len(merchant.requests) == 20

    await eventually(all_came)
    for each in calling:
        each.cancel()
    await asyncio.gather(*calling, return_exceptions=True)

    async def all_gone() -> bool:
        return gateway.runtime.gateway.in_flight == 0

    await eventually(all_gone)
    merchant.answer = echo
    assert await call(http, gateway, granted) == (200, "")


async def test_an_upstream_that_closes_its_idle_connections_works(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    """As many calls fail as connections were kept: it restarted, and the next ones reach it."""
    together = asyncio.Event()

    async def answer_once(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        if getattr(writer.transport, "was_used", False):
            writer.transport.abort()
            return
        writer.transport.was_used = True  # type: ignore[attr-defined]
        if len(merchant.requests) >= 8:
            together.set()
        await together.wait()
        await echo(request, reader, writer)

    merchant.answer = answer_once
    assert await asyncio.gather(*(call(http, gateway, granted) for _ in range(8))) == [(200, "")] * 8
    kept = await asyncio.gather(*(call(http, gateway, granted) for _ in range(8)))
    assert kept == [(502, "upstream_failed")] * 8
    assert await call(http, gateway, granted) == (200, "")
