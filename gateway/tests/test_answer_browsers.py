"""Pages call a service from the origins that it names, by the CORS protocol; the gateway answers."""

import pytest
from ams_gateway.http.cors import CorsPolicy, is_preflight
from ams_gateway.http.problems import Header
from hypothesis import given
from hypothesis import strategies as st

APP, OTHER = b"https://app.example.com", b"https://other.example.com"


def policy(*origins: str, passes_cookies: bool = False) -> CorsPolicy:
    return CorsPolicy(origins, passes_cookies=passes_cookies)


def fields(headers: list[Header] | None) -> dict[bytes, bytes]:
    assert headers is not None
    assert len(dict(headers)) == len(headers)
    return dict(headers)


def page_may_read(headers: list[Header] | None, origin: bytes, *, sends_credentials: bool = False) -> bool:
    """The CORS check of WHATWG Fetch §4.10."""
    read = fields(headers)
    allowed = read.get(b"access-control-allow-origin")
    if allowed == b"*" and not sends_credentials:
        return True
    if allowed != origin:
        return False
    return not sends_credentials or read.get(b"access-control-allow-credentials") == b"true"


def test_a_service_without_origins_answers_no_page_and_adds_nothing() -> None:
    assert policy().answer(APP) == policy().answer(None) == []
    assert policy().preflight(APP, b"GET", None) is None


def test_pages_of_a_named_origin_read_answers_and_others_do_not() -> None:
    named = policy("https://app.example.com", "http://localhost:3000")
    assert page_may_read(named.answer(APP), APP)
    assert page_may_read(named.answer(b"http://localhost:3000"), b"http://localhost:3000")
    for origin in (OTHER, b"http://app.example.com", b"https://app.example.com:8443", b"null", b"*", b""):
        assert not page_may_read(named.answer(origin), origin)
        assert named.preflight(origin, b"GET", None) is None


@pytest.mark.parametrize(
    "setting", ["https://APP.example.com", "https://app.example.com/", "https://app.example.com:443"]
)
def test_an_origin_may_be_set_in_any_of_its_forms(setting: str) -> None:
    assert page_may_read(policy(setting).answer(APP), APP)


def test_an_origin_in_other_letters_lets_no_look_alike_in() -> None:
    assert policy("https://äapp.example.com").answer(APP) == []


def test_any_origin_reads_answers_without_credentials() -> None:
    any_origin = policy("*", passes_cookies=True)
    for origin in (APP, b"null"):
        assert page_may_read(any_origin.answer(origin), origin)
        assert not page_may_read(any_origin.answer(origin), origin, sends_credentials=True)
        assert page_may_read(any_origin.preflight(origin, b"GET", None), origin)


def test_credentials_are_for_named_origins_of_services_that_pass_cookies() -> None:
    assert not page_may_read(policy(APP.decode()).answer(APP), APP, sends_credentials=True)
    both = policy("*", APP.decode(), "null", passes_cookies=True)
    assert page_may_read(both.answer(APP), APP, sends_credentials=True)
    assert page_may_read(both.preflight(APP, b"PUT", None), APP, sends_credentials=True)
    for origin in (OTHER, b"null"):
        assert page_may_read(both.answer(origin), origin)
        assert not page_may_read(both.answer(origin), origin, sends_credentials=True)


@given(
    st.sets(st.sampled_from(["*", "https://app.example.com", "https://other.example.com", "null"])),
    st.booleans(),
    st.sampled_from([APP, OTHER, b"null"]),
)
def test_caches_tell_origins_apart_wherever_answers_differ(
    origins: set[str], passes_cookies: bool, origin: bytes
) -> None:
    some = policy(*origins, passes_cookies=passes_cookies)
    answers = [some.answer(origin), some.answer(None)]
    if answers[0] != answers[1]:
        assert all(b"Origin" in fields(answer)[b"vary"] for answer in answers)


def test_pages_may_read_the_gateways_own_fields() -> None:
    for origins, passes_cookies in (([APP.decode()], True), ([APP.decode()], False), (["*"], False)):
        answer = CorsPolicy(origins, passes_cookies=passes_cookies).answer(APP)
        exposed = fields(answer)[b"access-control-expose-headers"].split(b", ")
        assert {b"RateLimit", b"RateLimit-Policy", b"Retry-After", b"X-Request-Id"} <= set(exposed)


def test_a_preflight_allows_the_method_and_the_fields_that_are_asked_for() -> None:
    answer = fields(policy(APP.decode()).preflight(APP, b"PATCH", b"authorization,content-type, x-api-key"))
    assert answer[b"access-control-allow-methods"] == b"PATCH"
    assert answer[b"access-control-allow-headers"] == b"authorization,content-type, x-api-key"
    assert int(answer[b"access-control-max-age"]) > 0
    assert b"Access-Control-Request-Headers" in answer[b"vary"]
    assert b"access-control-expose-headers" not in answer


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        (b"", None),
        (b"GET, PUT", None),
        (b"GET\r\nx: y", None),
        (b"GET", b"a b"),
        (b"GET", b"a,,b"),
        (b"GET", b"a\r\nset-cookie: x=y"),
        (b"GET", b"a" * 5000),
    ],
)
def test_what_is_no_method_or_list_of_names_is_never_echoed(method: bytes, headers: bytes | None) -> None:
    assert policy("*").preflight(APP, method, headers) is None


def test_only_options_of_a_page_that_asks_for_a_method_is_a_preflight() -> None:
    assert is_preflight("OPTIONS", APP, b"GET")
    assert not is_preflight("OPTIONS", APP, None)
    assert not is_preflight("OPTIONS", None, b"GET")
    assert not is_preflight("GET", APP, b"GET")
