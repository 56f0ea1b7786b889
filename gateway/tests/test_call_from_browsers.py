"""Pages of other origins call a service as far as its merchant lets them, and read why they were refused."""

from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import ClientSession
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams.keys.v1 import events_pb2 as keys
from ams_common import apikeys
from ams_gateway.settings import Settings
from ams_gateway.testing.consumers import Answer, connect, head
from ams_gateway.testing.merchants import Merchant, respond_with
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway
from redis.asyncio import Redis

PAGE = "https://app.example"
ALLOWS = ForwardingSettings(cors_origins=[PAGE])


def preflight_lines(origin: str = PAGE, method: str = "POST") -> tuple[str, ...]:
    return (
        f"Origin: {origin}",
        f"Access-Control-Request-Method: {method}",
        "Access-Control-Request-Headers: authorization, x-own",
    )


async def preflight(gateway: Running, target: str, *lines: str) -> Answer:
    async with connect(gateway) as consumer:
        fields = [f"OPTIONS {target} HTTP/1.1", "Host: g", *(lines or preflight_lines())]
        consumer.send(("\r\n".join(fields) + "\r\n\r\n").encode())
        return await consumer.answer("OPTIONS")


@pytest.mark.parametrize("target", ["/{slug}/items/7?q=1", "/{slug}", "?service={slug}", "?a=1&service={id}"])
async def test_a_preflight_needs_no_key_and_is_neither_forwarded_nor_metered(
    gateway: Running, granted: GrantedKey, merchant: Merchant, target: str
) -> None:
    await granted.write_service(forwarding=ALLOWS, rate_limit_per_minute=1)
    path = "/api/consume" + target.format(slug=granted.slug, id=granted.service_id)
    for _ in range(3):
        answer = await preflight(gateway, path)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.header("access-control-allow-origin") == PAGE
        assert answer.header("access-control-allow-methods") == "POST"
        assert answer.header("access-control-allow-headers") == "authorization, x-own"
        assert answer.header("date") and answer.header("x-request-id")
    assert merchant.requests == [] and gateway.events() == []
    # Nor did they use up the one call of this minute.
    async with connect(gateway) as consumer:
        consumer.send(head(granted, f"Origin: {PAGE}", method="GET"))
        assert (await consumer.answer("GET")).status == 200


async def test_an_unknown_service_and_one_that_no_page_may_call_are_answered_alike(
    gateway: Running, granted: GrantedKey, redis: "Redis", merchant: Merchant
) -> None:
    picky = await GrantedKey(redis, merchant.url()).write()
    await picky.write_service(forwarding=ForwardingSettings(cors_origins=["https://other.example"]))
    answers = []
    for name in ("no-such-service", granted.slug):
        for target in (f"/{name}/x", f"?service={name}"):
            answer = await preflight(gateway, f"/api/consume{target}")
            fields = [field for field in answer.headers if field[0] not in ("date", "x-request-id")]
            answers.append((answer.status, fields, answer.body.partition(b'"request_id"')[0]))
    assert answers[0][0] == 403 and not [each for each in answers if each != answers[0]]
    refused = await preflight(gateway, f"/api/consume/{picky.slug}/x")
    assert refused.status == 403 and refused.header("access-control-allow-origin") is None
    assert merchant.requests == [] and gateway.events() == []


async def test_a_page_reads_the_answer_and_the_upstream_has_no_say_in_who_does(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_service(forwarding=ALLOWS)
    merchant.answer = respond_with(
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    async with connect(gateway) as consumer:
        for origin, allowed in ((PAGE, [PAGE]), ("https://evil.example", [])):
            consumer.send(head(granted, f"Origin: {origin}", method="GET"))
            answer = await consumer.answer("GET")
            assert answer.values("access-control-allow-origin") == allowed
            assert answer.header("access-control-allow-credentials") is None
            assert "Origin" in answer.values("vary")
            assert bool(allowed) == ("X-Request-Id" in (answer.header("access-control-expose-headers") or ""))
    assert len(gateway.events()) == 2
    assert "app.example" not in repr(merchant.requests)


async def refusals(http: ClientSession, gateway: Running, granted: GrantedKey) -> dict[str, Answer]:
    """A page's refused calls, by their problems' codes."""
    url = f"{gateway.url}/api/consume/{granted.slug}/x"
    secrets = {
        "key_missing": None,
        "key_invalid": apikeys.generate().secret,
        "service_not_granted": granted.key.secret,
        "rate_limited": granted.key.secret,
    }
    answers = {}
    for code, secret in secrets.items():
        if code == "service_not_granted":
            other = GrantedKey(granted.redis, granted.base_url)
            await other.write_key(service_ids=[other.service_id])
            secret = other.key.secret
        headers = {"Origin": PAGE} | ({"X-API-Key": secret} if secret else {})
        async with http.get(url, headers=headers) as answer:
            problem = await answer.json(content_type="application/problem+json")
            fields = [(name.lower(), value) for name, value in answer.headers.items()]
            answers[problem["code"]] = Answer(answer.status, fields, await answer.read())
    return answers


async def test_a_page_can_read_why_it_was_refused(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.write_service(forwarding=ALLOWS, rate_limit_per_minute=1)
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as first:
        assert first.status == 200
    answers = await refusals(http, gateway, granted)
    statuses = {code: answer.status for code, answer in answers.items()}
    assert statuses == {
        "key_missing": 401,
        "key_invalid": 401,
        "service_not_granted": 403,
        "rate_limited": 429,
    }
    for answer in answers.values():
        assert answer.values("access-control-allow-origin") == [PAGE]
        assert "Retry-After" in (answer.header("access-control-expose-headers") or "")


async def test_a_page_can_read_why_what_it_sent_was_not_even_read(
    gateway: Running, granted: GrantedKey
) -> None:
    await granted.write_service(forwarding=ALLOWS)
    await preflight(gateway, f"/api/consume/{granted.slug}/x")
    own, other = f"Origin: {PAGE}", "Origin: https://evil.example"
    chunked = "Transfer-Encoding: chunked"
    requests = {
        "headers_too_large": head(granted, own, "X-Big: " + "x" * 40_000),
        "header_duplicate": head(granted, "Host: other.example", own),
        "header_invalid": head(granted, own, "X-Own : a"),
        "method_unsupported": head(granted, own, method="TRACE"),
        "http_version_unsupported": head(granted, own, version="2.0"),
        "framing_invalid": head(granted, own, chunked, "Content-Length: 1"),
    }
    for code, request in requests.items():
        for origin, allowed in ((own, [PAGE]), (other, [])):
            async with connect(gateway) as consumer:
                consumer.send(request.replace(own.encode(), origin.encode()))
                answer = await consumer.answer("POST")
                assert f'"{code}"'.encode() in answer.body
                assert answer.values("access-control-allow-origin") == allowed
                assert answer.values("vary") == ["Origin"]
    # The body's framing fails when its head is long read.
    async with connect(gateway) as consumer:
        consumer.send(head(granted, own, chunked), b"no length\r\n")
        answer = await consumer.answer()
        assert answer.status == 400 and answer.values("access-control-allow-origin") == [PAGE]


async def test_a_page_can_read_that_its_head_took_too_long(settings: Settings, granted: GrantedKey) -> None:
    await granted.write_service(forwarding=ALLOWS)
    async with serve_gateway(replace(settings, head_timeout_s=0.3)) as gateway, connect(gateway) as consumer:
        await preflight(gateway, f"/api/consume/{granted.slug}/x")
        consumer.send(head(granted, f"Origin: {PAGE}")[:-2])
        answer = await consumer.answer()
        assert (answer.status, answer.values("access-control-allow-origin")) == (408, [PAGE])


async def test_every_refusal_says_when(gateway: Running, granted: GrantedKey) -> None:
    await granted.write_key(status=keys.KEY_REVOKED)
    requests = {
        401: b"POST /api/consume HTTP/1.1\r\nHost: g\r\n\r\n",
        403: head(granted, method="GET"),
        404: b"GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n",
        405: b"GET /api/consume HTTP/1.1\r\nHost: g\r\nX-API-Key: "
        + granted.key.secret.encode()
        + b"\r\n\r\n",
        400: b"GET /api/consume HTTP/1.1\r\nHost: g\r\nHost: h\r\n\r\n",
        501: b"TRACE /api/consume/x HTTP/1.1\r\nHost: g\r\n\r\n",
        505: b"GET /api/consume HTTP/2.0\r\nHost: g\r\n\r\n",
        431: head(granted, "X-Big: " + "x" * 40_000),
    }
    for status, request in requests.items():
        async with connect(gateway) as consumer:
            consumer.send(request)
            answer = await consumer.answer("GET")
            assert answer.status == status
            (date,) = answer.values("date")
            assert parsedate_to_datetime(date).tzinfo is not None


async def test_an_options_call_that_is_no_preflight_is_a_call(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_service(forwarding=ALLOWS)
    answer = await preflight(gateway, f"/api/consume/{granted.slug}/x", f"Origin: {PAGE}")
    assert answer.status == 401
    async with connect(gateway) as consumer:
        consumer.send(head(granted, method="OPTIONS", path="/x"))
        assert (await consumer.answer("OPTIONS")).status == 200
    assert [received.method for received in merchant.requests] == ["OPTIONS"]
