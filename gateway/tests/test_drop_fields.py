"""Fields that stop at the gateway, whatever a sender does to their names."""

import pytest
from ams_gateway.http.forwarding_fields import careless, is_dropped, is_dropped_from_answer
from hypothesis import given
from hypothesis import strategies as st

DROPPED = [
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded",
    b"forwarded",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"fastly-client-ip",
    b"x-original-url",
    b"x-original-host",
    b"x-original-forwarded-for",
    b"x-rewrite-url",
    b"x-host",
    b"x-http-host-override",
    b"x-http-method-override",
    b"x-method-override",
    b"script-name",
    b"x-accel-mapping",
    b"cf-access-jwt-assertion",
    b"x-envoy-original-path",
    b"x-azure-clientip",
    b"x-ssl-client-verify",
    b"x-client-cert",
    b"client-cert",
    b"client-cert-chain",
    b"x-remote-user",
    b"x-auth-request-email",
    b"x-ms-client-principal-id",
    b"proxy",
    b"from",
    b"origin",
    b"referer",
    b"baggage",
    b"tracestate",
    b"sec-fetch-site",
    b"access-control-request-method",
    b"signature",
    b"signature-input",
    b"x-ams-service",
    b"x-ams-anything",
]
# Read and written by the gateway under this very name, which is for the head's reader to do.
RESERVED = [
    b"host",
    b"authorization",
    b"x-api-key",
    b"content-length",
    b"transfer-encoding",
    b"proxy-authorization",
    b"cookie",
    b"x-request-id",
    b"traceparent",
    b"sec-websocket-key",
]
PASSED = [
    b"accept",
    b"accept-language",
    b"content-type",
    b"content-encoding",
    b"user-agent",
    b"if-none-match",
    b"idempotency-key",
    b"x-requested-with",
    b"x-csrftoken",
    b"x-amz-date",
    b"cf-access-client-id",
    b"x-original",
    b"x-hostname",
    b"proxy-status",
    b"signatures",
    b"x-amstrad",
    b"from-cache",
    b"my_field",
    b"api.version",
]


@pytest.mark.parametrize("name", DROPPED)
def test_what_proxies_say_and_who_the_consumer_is_stop_here(name: bytes) -> None:
    assert is_dropped(name)
    assert is_dropped(name.replace(b"-", b"_"))
    assert is_dropped(name.replace(b"-", b"."))
    assert is_dropped(name.upper())


@pytest.mark.parametrize("name", RESERVED)
def test_only_the_name_itself_says_what_the_gateway_reads(name: bytes) -> None:
    assert not is_dropped(name)
    assert not is_dropped(name.upper())
    if b"-" in name:
        for character in (b"_", b".", b"!", b"~"):
            assert is_dropped(name.replace(b"-", character))
            assert is_dropped(name.replace(b"-", character, 1))
            assert is_dropped(name.replace(b"-", character).upper())


@pytest.mark.parametrize("name", PASSED)
def test_other_fields_go_on(name: bytes) -> None:
    assert not is_dropped(name)


@given(st.binary(max_size=20), st.sampled_from([*DROPPED, *RESERVED]))
def test_names_that_cgi_takes_for_one_are_one(noise: bytes, name: bytes) -> None:
    variable = b"HTTP_" + name.upper().replace(b"-", b"_")
    for other in (noise, name.replace(b"-", b"_"), name + noise):
        if b"HTTP_" + other.upper().replace(b"-", b"_") == variable:
            assert careless(other) == careless(name)


@pytest.mark.parametrize(
    "name",
    [
        b"access-control-allow-origin",
        b"Access-Control-Expose-Headers",
        b"strict-transport-security",
        b"clear-site-data",
        b"alt-svc",
        b"nel",
        b"report-to",
        b"service-worker-allowed",
        b"set-cookie2",
        b"x-accel-redirect",
        b"refresh",
        b"x-ams-cost",
    ],
)
def test_what_speaks_for_the_whole_origin_is_not_a_merchants_to_say(name: bytes) -> None:
    assert is_dropped_from_answer(name)


@pytest.mark.parametrize(
    "name",
    [
        b"content-type",
        b"etag",
        b"set-cookie",
        b"link",
        b"x-accel-buffering",
        b"content-security-policy",
        b"server",
        b"vary",
    ],
)
def test_what_speaks_of_the_answer_itself_goes_on(name: bytes) -> None:
    assert not is_dropped_from_answer(name)
