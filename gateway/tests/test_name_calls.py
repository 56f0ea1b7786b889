"""A call names its service in one way, and is found again by the id that its answer carries."""

import pytest
from aiohttp import ClientSession
from ams_gateway.testing.merchants import Merchant, respond_with
from ams_gateway.testing.running import GrantedKey, Running
from redis.asyncio import Redis


async def call(
    http: ClientSession, gateway: Running, query: str, headers: dict[str, str]
) -> tuple[int, str, str]:
    """The status, the problem's code, and the request id."""
    async with http.post(f"{gateway.url}/api/consume{query}", data=b"x", headers=headers) as answer:
        is_problem = answer.content_type == "application/problem+json"
        code = (await answer.json(content_type=None))["code"] if is_problem else ""
        return answer.status, code, answer.headers["X-Request-Id"]


async def test_the_query_names_the_service_and_keeps_its_other_parameters(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    key = {"X-API-Key": granted.key.secret}
    queries = {
        "?service={slug}": "/base",
        "?service={id}&a=1&b=%20": "/base?a=1&b=%20",
        "?a=1&service={slug}&a=2": "/base?a=1&a=2",
        "?services=x&service={slug}": "/base?services=x",
    }
    for query in queries:
        named = query.format(slug=granted.slug, id=granted.service_id)
        assert (await call(http, gateway, named, key))[:2] == (200, "")
    assert [received.target for received in merchant.requests] == list(queries.values())


async def test_a_call_that_names_two_services_is_refused(
    gateway: Running, http: ClientSession, granted: GrantedKey, redis: "Redis", merchant: Merchant
) -> None:
    other = await GrantedKey(redis, granted.base_url).write()
    for query, headers in (
        (f"?service={other.slug}", granted.headers),
        (f"?service={granted.slug}&service={other.slug}", granted.headers),
        (f"?service={granted.slug}&service={granted.slug}", {"X-API-Key": granted.key.secret}),
    ):
        assert (await call(http, gateway, query, headers))[:2] == (400, "service_conflict")
    same = f"?service={granted.slug}"
    assert (await call(http, gateway, same, granted.headers))[:2] == (200, "")
    assert len(merchant.requests) == 1


async def test_an_empty_name_is_none(gateway: Running, http: ClientSession, granted: GrantedKey) -> None:
    key = {"X-API-Key": granted.key.secret}
    assert (await call(http, gateway, "?service=", key))[:2] == (400, "service_required")
    assert (await call(http, gateway, "?service=", granted.headers))[:2] == (200, "")


ANSWERS = {
    "answered": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: the-merchants-own\r\n\r\n",
    "failed": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    "broken": b"no answer at all\r\n\r\n",
}


@pytest.mark.parametrize("own", [None, "mine-1", "0197b2a0-0000-7000-8000-000000000001", "not an id"])
@pytest.mark.parametrize("ending", ANSWERS)
async def test_the_id_of_an_answer_finds_its_event_whoever_chose_it(
    gateway: Running,
    granted: GrantedKey,
    merchant: Merchant,
    http: ClientSession,
    ending: str,
    own: str | None,
) -> None:
    merchant.answer = respond_with(ANSWERS[ending])
    is_kept = own is not None and " " not in own
    headers = granted.headers | ({"X-Request-Id": own} if own is not None else {})
    ids = [(await call(http, gateway, "", headers))[2] for _ in range(2)]
    events = gateway.events()
    assert len(events) == 2
    for request_id, event, received in zip(ids, events, merchant.requests, strict=True):
        assert received.header("x-request-id") == request_id
        if is_kept:
            assert (request_id, event.request_id) == (own, own)
        else:
            assert request_id.replace("-", "") == event.event_id.hex()
    assert events[0].event_id != events[1].event_id


async def test_refusals_have_ids_of_their_own_in_field_and_body(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    ids = set()
    for headers in ({}, {"X-API-Key": granted.key.secret}, granted.headers | {"X-API-Key": "junk"}):
        async with http.post(f"{gateway.url}/api/consume", headers=headers) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert problem["request_id"] == answer.headers["X-Request-Id"]
            ids.add(problem["request_id"])
    assert len(ids) == 3


async def test_what_cant_be_read_has_an_id_of_its_own_too_and_is_counted(gateway: Running) -> None:
    ids = set()
    for head in (b"GET /api/consume HTTP/1.1\r\nHost: g\r\nHost: h", b"no request", b"GET / HTTP/2.0"):
        answer = await gateway.raw(head + b"\r\n\r\n")
        fields = answer.partition(b"\r\n\r\n")[0].lower()
        ids.add(fields.partition(b"x-request-id: ")[2].partition(b"\r\n")[0])
    assert len(ids) == 3 and not ids & {b"", b"-"}
    answers = gateway.runtime.gateway.answers
    assert answers.total() == 3 and answers["header_duplicate"] == 1
