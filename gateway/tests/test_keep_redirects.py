"""Whoever follows an upstream's redirect stays behind the gateway, and never learns the base URL."""

from urllib.parse import urljoin, urlsplit

import pytest
from ams_gateway.http.redirects import rewrite_link, rewrite_location
from ams_gateway.http.targets import Target, parse_base_url, traverses_root
from hypothesis import given
from hypothesis import strategies as st

SCOPE = b"/api/consume/weather"


def target(url: str) -> Target:
    parsed = parse_base_url(url)
    assert parsed is not None
    return parsed


ROOT, NESTED = target("http://base.test:8080"), target("https://base.test/v1")


def rewritten(value: bytes, base: Target = NESTED, requested_path: bytes | None = b"/a/b") -> bytes | None:
    return rewrite_location(value, base=base, scope=SCOPE, requested_path=requested_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"http://base.test:8080/items/", b"/items/"),
        (b"http://base.test:8080", b""),
        (b"http://base.test:8080?q", b"?q"),
        (b"HTTP://BASE.test:8080/items?a=1#top", b"/items?a=1#top"),
        (b"http://base.test:08080/items", b"/items"),
        (b"http://base.test.:8080/items", b"/items"),
        (b"http://user:secret@base.test:8080/items", b"/items"),
        (b"//base.test:8080/items", b"/items"),
        (b"/items/", b"/items/"),
        (b"/", b"/"),
        (b"items/", b"/a/items/"),
        (b"./items", b"/a/items"),
        (b"../x", b"/x"),
        (b"../../../x", b"/x"),
        (b"..", b"/"),
        (b"?q", b"/a/b?q"),
        (b"?", b"/a/b?"),
        (b"?q=/../x", b"/a/b?q=/../x"),
        (b" \t/items ", b"/items"),
    ],
)
def test_an_address_below_the_base_url_stays_behind_the_gateway(value: bytes, expected: bytes) -> None:
    assert rewritten(value, ROOT) == SCOPE + expected


@pytest.mark.parametrize(
    ("value", "requested_path", "expected"),
    [
        (b"https://base.test/v1/items/", b"/a/b", b"/items/"),
        (b"https://base.test:443/v1", b"/a/b", b""),
        (b"/v1/items", b"/a/b", b"/items"),
        (b"items", b"/a/b", b"/a/items"),
        (b"items", b"/", b"/items"),
        (b"/v1/", None, b"/"),
        (b"v1/items", None, b"/items"),
        (b"?q", None, b"?q"),
        (b"../../v1/x", b"/a/b", b"/x"),
        (b"/v1/%7Euser/a%2Fb", b"/a/b", b"/%7Euser/a%2Fb"),
        (b"/v1//x", b"/a/b", b"//x"),
    ],
)
def test_the_base_urls_own_path_is_left_out(
    value: bytes, requested_path: bytes | None, expected: bytes
) -> None:
    assert rewritten(value, NESTED, requested_path) == SCOPE + expected


@pytest.mark.parametrize("value", [b"", b"#top"])
def test_the_same_document_is_the_consumers_own_address_of_it(value: bytes) -> None:
    assert rewritten(value) == value


@pytest.mark.parametrize(
    "value",
    [
        b"https://base.test/",
        b"https://base.test/v2/items",
        b"https://base.test/v1x",
        b"https://base.test/V1/items",
        b"/items",
        b"../../../items",
        b"/v1/../items",
        b"/v1/%2e%2E/items",
        b"/v1/..%2f..%2fitems",
        b"/v1/..;/..;/items",
        # The same host, at which consumers have no business
        b"http://base.test/v1/items",
        b"https://base.test:8443/v1/items",
        b"https://base.test:x/v1/items",
        b"https://base.test:" + b"4" * 5000,
        b"ftp://base.test/v1/items",
        # as browsers read it
        b"ht\ttps://ba\tse.test/items",
        b"https://%62ase.test/items",
        "https://ｂase.test/items".encode(),
    ],
)
def test_what_names_the_merchants_host_otherwise_goes(value: bytes) -> None:
    assert rewritten(value) is None


@pytest.mark.parametrize(
    "value",
    [
        b"https:\\\\base.test\\v1\\items",
        b"/\\base.test/v1/items",
        b"https://login.example\\@base.test/v1",
        b"https:/base.test/v1/items",
        b"https:v1/items",
        b"https:",
        b"https:///login.example/",
        b"///login.example/",
        b"//",
        b"https://",
        b"https://:443/",
    ],
)
def test_what_clients_read_in_different_ways_goes(value: bytes) -> None:
    assert rewritten(value) is None


@pytest.mark.parametrize(
    "value",
    [
        b"https://login.example/authorize?return_to=https%3A%2F%2Fbase.test",
        b"http://host:81/x#y",
        b"https://base.test.example/",
        b"https://base.test@login.example/",
        b"https://[2001:db8::1]/",
        b"mailto:support@base.test",
        b"app:/callback",
        b"app:///",
    ],
)
def test_other_hosts_pass_unchanged(value: bytes) -> None:
    assert rewritten(value) == value


def test_another_host_without_a_scheme_has_the_upstreams() -> None:
    assert rewritten(b"//host/x", ROOT) == b"http://host/x"
    assert rewritten(b"//host/x", NESTED) == b"https://host/x"


def test_an_internet_address_is_a_host_too() -> None:
    base = target("http://[2001:db8::1]:81/v1")
    assert rewritten(b"http://[2001:DB8::1]:81/v1/x", base) == SCOPE + b"/x"
    assert rewritten(b"http://[2001:db8::1]/v1/x", base) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [(b"?code=s3cret", b""), (b"?page=2&code=s3cret", b"?page=2"), (b"?code=other", b"?code=other")],
)
def test_the_base_urls_own_parameters_are_not_shown(query: bytes, expected: bytes) -> None:
    base = target("https://base.test/v1?code=s3cret")
    assert rewritten(b"/v1/items" + query, base) == SCOPE + b"/items" + expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'<https://base.test/v1/items?page=2>; rel="next", <https://base.test/v1/items?page=9>; rel=last',
            b'<%b/items?page=2>; rel="next", <%b/items?page=9>; rel=last' % (SCOPE, SCOPE),
        ),
        (b"<?page=2>;rel=next", b"<%b/a/b?page=2>;rel=next" % SCOPE),
        (b"<https://base.test/docs>; rel=help , <c>; rel=next ,", b"<%b/a/c>; rel=next" % SCOPE),
        (
            b'<https://docs.example/>; title="a, <b>; \\" c"; rel=help,<c>',
            b'<https://docs.example/>; title="a, <b>; \\" c"; rel=help, <%b/a/c>' % SCOPE,
        ),
        (b"<https://base.test/docs>; rel=help", None),
        (b"https://base.test/v1/items; rel=next", None),
        (b"", None),
    ],
)
def test_links_are_treated_as_redirects_are(value: bytes, expected: bytes | None) -> None:
    assert rewrite_link(value, base=NESTED, scope=SCOPE, requested_path=b"/a/b") == expected


SEGMENTS = st.sampled_from(["a", "b", "v1", "items", ".", "..", "c;p=1", "~u", "a%20b"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join)


@given(
    st.sampled_from(["http://base.test/", "http://base.test/v1", "http://base.test/v1/"]),
    st.none() | PATHS.map("/a/{}".format),
    st.sampled_from(["", "http://base.test"]),
    st.sampled_from(["", "/", "/v1/"]),
    PATHS,
    st.sampled_from(["", "?x=1"]),
)
def test_the_next_call_asks_for_what_the_upstream_meant(
    base_url: str, requested: str | None, origin: str, start: str, path: str, query: str
) -> None:
    """Resolved by the standard library on the merchant's side, followed through the gateway on ours."""
    base = target(base_url)
    requested_path = None if requested is None else requested.encode()
    # urljoin leaves dots in an absolute URL, so it is given the path alone.
    reference = (start or "/") + path + query if origin else start + path + query
    result = rewritten((origin + reference).encode(), base, requested_path)
    asked = base.request_target(requested_path, b"").decode()
    meant = urljoin("http://base.test" + asked, reference).removeprefix("http://base.test")
    if result is None:
        assert not meant.startswith(base.path.decode() + "/") or traverses_root(meant.encode())
    elif result[len(SCOPE) : len(SCOPE) + 1] == b"/":
        followed, _, parameters = result.removeprefix(SCOPE).partition(b"?")
        assert base.request_target(followed, parameters).decode() == meant


PIECES = b"base.test BASE.TEST. other.test http: https: / // \\ . .. %2e /v1 v1 x ? # @ : 8080 %2f ; &".split(
    b" "
)


@given(
    st.lists(st.sampled_from([*PIECES, b" ", b"\t"]), max_size=12).map(b"".join),
    st.sampled_from([ROOT, NESTED]),
    st.sampled_from([None, b"/", b"/a/b"]),
)
def test_no_address_leads_to_the_merchants_host_or_elsewhere_at_ours(
    value: bytes, base: Target, requested_path: bytes | None
) -> None:
    result = rewritten(value, base, requested_path)
    if result is None or result[:1] in (b"", b"#"):
        return
    address = result.decode("ascii")
    before, mark, after = address.partition("?")
    # As libraries read it, and as browsers do.
    for reading in (address, before.replace("\\", "/") + mark + after):
        try:
            parts = urlsplit(urljoin("https://ams.test/api/consume/weather/a/b", reading))
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            continue  # such a client can't follow it
        assert host != "base.test"
        if host == "ams.test":
            assert parts.path == SCOPE.decode() or parts.path.startswith(SCOPE.decode() + "/")
