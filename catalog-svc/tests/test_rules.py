"""The rules as functions: slugs, prices, hosts, words."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from ams.catalog.v1.forwarding_pb2 import PER_CONSUMER, PER_KEY, ForwardingSettings
from ams_common import formats
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from catalog_svc.credentials import header_name_problem
from catalog_svc.forwarding import forwarding_message, forwarding_of, origin_problem
from catalog_svc.prices import start_of
from catalog_svc.rpc.marketplace import words_of
from catalog_svc.slugs import service_id_in, slug_candidates
from catalog_svc.upstreams import names_private_host
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(min_size=1, max_size=80), st.uuids())
def test_every_name_gives_slugs_that_are_slugs_and_never_ids(name: str, service_id: UUID) -> None:
    candidates = slug_candidates(name, service_id)
    for slug in candidates:
        assert formats.SLUG.fullmatch(slug)
        assert len(slug) <= 80
        assert service_id_in(slug) is None


@given(st.text("0123456789abcdef-", min_size=26, max_size=40), st.uuids())
def test_names_of_hex_digits_never_become_something_that_parses_as_an_id(name: str, service_id: UUID) -> None:
    for slug in slug_candidates(name, service_id):
        with pytest.raises(ValueError, match=r"UUID|hexadecimal|invalid literal"):
            UUID(slug)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Weather  API v2!", "weather-api-v2"),
        ("Café Zürich", "cafe-zurich"),
        ("漢字", "service"),
        ("--", "service"),
    ],
)
def test_a_slug_is_readable(name: str, slug: str) -> None:
    assert slug_candidates(name, uuid7())[0] == slug


# Naive: hypothesis adds the zone itself.
EARLIEST, LATEST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2000, 2090))


@given(st.datetimes(timezones=st.just(UTC), min_value=EARLIEST, max_value=LATEST), st.integers(-400, 800))
def test_a_price_starts_at_a_midnight_ahead_within_a_year(now: datetime, days: int) -> None:
    day = now.date() + timedelta(days=days)
    try:
        starts_at = start_of(day.isoformat(), now)
    except InvalidArgumentError as error:
        assert error.code == "price_start_invalid"
        assert days <= 0 or days > 365
    else:
        assert starts_at == datetime(day.year, day.month, day.day, tzinfo=UTC)
        assert now < starts_at <= now + timedelta(days=366)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
    ],
)
def test_hosts_of_the_operators_network_are_known(host: str) -> None:
    assert names_private_host(host)


@pytest.mark.parametrize(
    "host", ["api.example.com", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "notlocalhost"]
)
def test_public_hosts_are_not_private(host: str) -> None:
    assert not names_private_host(host)


@given(st.text(max_size=100))
def test_words_hold_nothing_that_means_something_in_a_text_query(query: str) -> None:
    assert all(re.fullmatch(r"\w+", word) for word in words_of(query))


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://app.example.com",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "http://[::1]:5173",
        "https://xn--bcher-kva.example",
        "https://my_app.example",
    ],
)
def test_an_origin_that_browsers_send_is_taken(origin: str) -> None:
    assert origin_problem(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https://user@app.example.com",
        "https://App.example.com",
        "https://*.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://app.example.com:",
        "https://",
        "https://[::1",
        "https://[x]",
        "https://bücher.example",
        "ftp://app.example.com",
        "app.example.com",
        "null",
        "**",
        " https://app.example.com",
        "https://app.example.com\n",
        "https://app.example.com https://other.example",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    assert origin_problem(origin)


@given(st.text(max_size=60))
def test_what_is_taken_as_an_origin_is_one_word_of_ascii(origin: str) -> None:
    if origin_problem(origin) is None:
        assert re.fullmatch(r"[!-~]+", origin)


@given(
    st.builds(
        ForwardingSettings,
        first_byte_timeout_s=st.integers(0, 300),
        idle_timeout_s=st.integers(0, 3600),
        total_timeout_s=st.integers(0, 86400),
        max_connections=st.integers(0, 10000),
        passes_cookies=st.booleans(),
        cors_origins=st.lists(st.integers(1, 79).map("http://localhost:{}".format), max_size=20, unique=True),
        allows_websockets=st.booleans(),
        shows_costs=st.booleans(),
        quota_per_day=st.integers(0, 10**9),
        quota_per_month=st.integers(0, 2 * 10**9),
        limit_scope=st.sampled_from([PER_CONSUMER, PER_KEY]),
    )
)
def test_settings_survive_the_way_into_a_record_and_back(settings: ForwardingSettings) -> None:
    assert forwarding_message(forwarding_of(settings)) == settings


@pytest.mark.parametrize(
    "name", ["Authorization", "X-API-Key", "api_key", "x-signature", "X-Forward", "!#$%"]
)
def test_a_credential_may_stand_in_any_field_that_the_gateway_does_not_write(name: str) -> None:
    assert header_name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "CONTENT-LENGTH", "Transfer-Encoding", "connection", "TE", "upgrade", "trailer", "via"),
        *("X-Request-Id", "traceparent", "cookie", "signature", "Signature-Input", "forwarded"),
        *("X-Forwarded-For", "x-forwarded-anything", "X-Real-IP", "X-AMS-Service", "X_Forwarded_For"),
        *("content_length", "Proxy", "Expect", "Keep-Alive", "Proxy-Authorization", "Sec-WebSocket-Key"),
        *("", "a b", "a:b", "a\nb", "ä", "a(b)", 'a"', " Authorization", "Authorization:"),
    ],
)
def test_a_credential_never_stands_in_a_field_that_the_gateway_writes_or_in_none(name: str) -> None:
    assert header_name_problem(name)
