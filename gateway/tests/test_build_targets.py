"""Base URLs, and what a consumer's path may do to them."""

from urllib.parse import quote

import pytest
from ams_gateway.http.targets import origin_of, parse_base_url, traverses_root
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("base_url", "path", "query", "expected"),
    [
        ("http://a.example", None, b"", b"/"),
        ("http://a.example", b"/x", b"q=1", b"/x?q=1"),
        ("http://a.example/v1/", None, b"", b"/v1/"),
        ("http://a.example/v1/", b"/x%2Fy", b"", b"/v1/x%2Fy"),
        ("http://a.example/v1", b"/", b"", b"/v1/"),
        ("http://a.example/v1?k=v", None, b"q=1", b"/v1?k=v&q=1"),
        ("http://a.example/v1?k=v", b"/x", b"", b"/v1/x?k=v"),
    ],
)
def test_path_and_query_are_put_onto_the_base_url(
    base_url: str, path: bytes | None, query: bytes, expected: bytes
) -> None:
    target = parse_base_url(base_url)
    assert target is not None
    assert target.request_target(path, query) == expected


def test_the_origin_and_the_host_header_come_from_the_base_url() -> None:
    secure, plain, literal = map(
        parse_base_url, ("https://A.example/x", "http://a.example:8080", "http://[2001:db8::1]:81")
    )
    assert secure is not None and plain is not None and literal is not None
    assert (secure.origin, secure.authority) == (origin_of("a.example", 443, True), b"a.example")
    assert (plain.origin, plain.authority) == (origin_of("a.example", 8080, False), b"a.example:8080")
    assert (literal.origin, literal.authority) == (origin_of("2001:db8::1", 81, False), b"[2001:db8::1]:81")


@pytest.mark.parametrize(
    "base_url",
    [
        "", "a.example", "/x", "ftp://a.example", "file:///etc/passwd", "http://", "http://:80", "http://a:b@c.example",
        "http://a.example:0", "http://a.example:99999", "http://a.example/\r\nX: y", "http://a.example/a b",
        "http://a.example/ä", "http://a b.example", "http://a.example?x=\x00", "http://[::1", "http://a..example",
    ],
)  # fmt: skip
def test_what_cant_go_on_the_wire_is_no_base_url(base_url: str) -> None:
    assert parse_base_url(base_url) is None


@pytest.mark.parametrize(
    "path",
    [
        b"/..", b"/../x", b"/x/../../y", b"/%2e%2e/x", b"/.%2E", b"/%2E./x", b"/..%2fx", b"/x%2f..%2f..%2fy",
        b"/a%2fb/../../c", b"/a\\..\\..\\b", b"/%5c..%5c..", b"/a//../../b", b"/./../x", b"/..;/x",
        b"/a/%2e%2e;x/..", b"/..;a=b/x",
    ],
)  # fmt: skip
def test_a_path_that_any_server_could_read_as_leaving_the_base_is_noticed(path: bytes) -> None:
    assert traverses_root(path)


@pytest.mark.parametrize(
    "path",
    [b"/", b"/a/../b", b"/a/b/../../c", b"/a..b", b"/...", b"/..a", b"/a%2Fb", b"/%252e%252e/x", b"/a;x=.."],
)
def test_other_paths_go_through(path: bytes) -> None:
    assert not traverses_root(path)


@given(st.lists(st.sampled_from(["a", "..", "."]), max_size=8), st.data())
def test_no_spelling_of_a_path_hides_that_it_leaves(segments: list[str], data: st.DataObject) -> None:
    depth = lowest = 0
    for segment in segments:
        depth += {"a": 1, "..": -1, ".": 0}[segment]
        lowest = min(lowest, depth)
    text = "/" + "/".join(segments)
    spelled = "".join(
        f"%{ord(each):02x}" if each in "./" and data.draw(st.booleans()) else quote(each, safe="./")
        for each in text
    )
    if lowest < 0:
        assert traverses_root(spelled.encode())
