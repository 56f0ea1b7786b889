"""A merchant's cookies come back to this merchant alone, and AMS's own never reach one."""

from http.cookies import SimpleCookie

import pytest
from aiohttp import CookieJar
from ams_gateway.http.cookies import filter_cookie, rewrite_set_cookie
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

OURS = frozenset((b"ams_session", b"__Host-ams_session", b"ams_theme"))
SCOPE = b"/api/consume/weather"
KEY = b"ams_live_" + b"a" * 46


def rewritten(value: bytes, base_path: bytes = b"/v1") -> bytes | None:
    return rewrite_set_cookie(value, scope=SCOPE, base_path=base_path, ours=OURS)


@pytest.mark.parametrize(
    ("base_path", "path", "expected"),
    [
        (b"", b"/", b""),
        (b"", b"/admin", b"/admin"),
        (b"/v1", b"/", b""),
        (b"/v1", b"/v1", b""),
        (b"/v1", b"/v1/", b""),
        (b"/v1", b"/v1/admin", b"/admin"),
        (b"/v1", b"/v1/admin/", b"/admin/"),
        (b"/v1", b"/v1x", b""),
        (b"/v1", b"/V1/admin", b""),
        (b"/v1", b"/other", b""),
        (b"/v1", b"/v1/../../../ui", b""),
        (b"/v1", b"/v1/%2e%2e/%2E%2e/ui", b""),
        (b"/v1", b"relative", b""),
        (b"/v1", b"", b""),
        (b"/v1", b'"/v1/admin"', b""),
        (b"/v1", b"/v1/" + b"a" * 1024, b""),
    ],
)
def test_a_path_is_narrowed_to_the_services_own(base_path: bytes, path: bytes, expected: bytes) -> None:
    assert rewritten(b"sid=a; Path=" + path, base_path) == b"sid=a; Path=" + SCOPE + expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"sid=a", b"sid=a"),
        (b"sid=a; Path=/; HttpOnly", b"sid=a; HttpOnly"),
        (b"sid=a; Domain=merchant.example; Secure", b"sid=a; Secure"),
        (b"sid=a; DOMAIN = .example; secure;httponly", b"sid=a; secure; httponly"),
        (b" sid\t=  a b  ;; SameSite = None ; Partitioned", b"sid=a b; SameSite = None; Partitioned"),
        (b"sid=a; Max-Age=5; Expires=Wed, 21 Oct 2015 07:28:00 GMT",) * 2,
        (b"sid=a; Priority=High; Future=1", b"sid=a"),
        (b"sid=a=b==; Secure", b"sid=a=b==; Secure"),
        (b"sid=; Max-Age=0", b"sid=; Max-Age=0"),
        # Browsers know no quotes: the value ends at the semicolon.
        (b'sid="a; Path=/; Domain=example"', b'sid="a'),
        (b'sid="a"; Secure', b'sid="a"; Secure'),
        (b"__Secure-sid=a; Secure", b"__Secure-sid=a; Secure"),
    ],
)
def test_other_attributes_stay_and_the_domain_goes(value: bytes, expected: bytes) -> None:
    assert rewritten(value) == expected + b"; Path=" + SCOPE


@pytest.mark.parametrize(
    ("value", "below"),
    [
        (b"sid=a; Path=/v1/x; Path=/", b""),
        (b"sid=a; Path=/; path = /v1/x", b"/x"),
        (b"sid=a; Path=/v1/x; Path", b""),
        (b"sid=a; Path=/v1/x; Path=relative", b""),
    ],
)
def test_of_several_paths_the_last_counts_and_one_is_sent(value: bytes, below: bytes) -> None:
    assert rewritten(value) == b"sid=a; Path=" + SCOPE + below


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"; Path=/",
        b"bare",
        b"ams_session=a",
        b" ams_session =a; Path=/",
        b"=ams_session=a",
        b"__Host-ams_session=a; Secure; Path=/",
        b"__Host-sid=a; Secure; Path=/",
        b"__hOsT-sid=a; Secure; Path=/",
        b"__Host-Http-sid=a; Secure; HttpOnly; Path=/",
        b"sid=a\x00b",
        b"sid=a; Path=/\x1f",
        b"sid=a\x7f",
        b"sid=" + b"a" * 4094,
    ],
)
def test_what_no_browser_would_keep_or_would_take_for_ours_is_dropped(value: bytes) -> None:
    assert rewritten(value) is None


def attributes_as_browsers_read(value: bytes) -> dict[bytes, bytes]:
    """RFC 6265bis §5.6, written apart from the code under test; the last of a name wins."""
    read = {}
    for part in value.split(b";")[1:]:
        name, _, content = part.partition(b"=")
        read[name.strip(b" \t").lower()] = content.strip(b" \t")
    return read


PIECES = b"sid = ; Path path Domain / /v1 .. %2e \\ ams_session __Host- x , Secure".split(b" ")


@given(st.lists(st.sampled_from([*PIECES, b" ", b"\t", b'"']), max_size=20).map(b"".join))
def test_whatever_is_sent_a_cookie_stays_inside_the_service(value: bytes) -> None:
    result = rewritten(value)
    if result is not None:
        read = attributes_as_browsers_read(result)
        assert read[b"path"] == SCOPE or read[b"path"].startswith(SCOPE + b"/")
        assert b"domain" not in read
        name, equals, _ = result.partition(b"=")
        assert equals and name and name not in OURS and not name.lower().startswith(b"__host-")
        # What is passed on once is passed on as it is.
        assert rewrite_set_cookie(result, scope=SCOPE, base_path=SCOPE, ours=OURS) == result


async def test_two_services_and_the_web_ui_share_one_jar_and_no_cookie() -> None:
    jar = CookieJar()
    jar.update_cookies(SimpleCookie("ams_session=secret; Path=/"), URL("https://ams.example/"))
    for service, attributes in (("weather", "Path=/; HttpOnly"), ("weather-pro", "Domain=ams.example")):
        scope = f"/api/consume/{service}"
        value = rewrite_set_cookie(
            f"sid={service}; {attributes}".encode(), scope=scope.encode(), base_path=b"", ours=OURS
        )
        assert value is not None
        # The answer to the service's own address, whose default path would be all services'.
        jar.update_cookies(SimpleCookie(value.decode()), URL(f"https://ams.example{scope}"))

    def received(url: str) -> bytes | None:
        sent = jar.filter_cookies(URL(url))
        return filter_cookie("; ".join(f"{name}={sent[name].value}" for name in sent).encode(), OURS)

    assert received("https://ams.example/api/consume/weather/x") == b"sid=weather"
    assert received("https://ams.example/api/consume/weather") == b"sid=weather"
    assert received("https://ams.example/api/consume/weather-pro/x") == b"sid=weather-pro"
    for url in ("https://ams.example/api/consume", "https://ams.example/", "https://sub.ams.example/api/"):
        assert received(url) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"sid=a", b"sid=a"),
        (b"sid=a; ams_session=secret; x=1", b"sid=a; x=1"),
        (b"sid=a;ams_session=secret;__Host-ams_session=s", b"sid=a"),
        (b"ams_session=secret", None),
        (b"ams_session =secret", None),
        (b'a="x; ams_session=secret"', b'a="x'),
        (b"__Host-any=1; __secure-sid=2", b"__secure-sid=2"),
        (b"bare; =empty; sid=a", b"sid=a"),
        (b"", None),
        (b"; ;", None),
        (b"key=" + KEY + b"; sid=a", b"sid=a"),
        (b"sid=a; key=" + KEY.replace(b"_", b"%5F"), b"sid=a"),
        (KEY + b"=1; sid=a", b"sid=a"),
        (b"AMS_SESSION=theirs", b"AMS_SESSION=theirs"),
    ],
)
def test_only_what_a_service_may_have_set_comes_back(value: bytes, expected: bytes | None) -> None:
    assert filter_cookie(value, OURS) == expected
