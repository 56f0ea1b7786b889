"""Which calls fit a rule: the path as it is meant, and never one that servers could read differently."""

from urllib.parse import quote, unquote_to_bytes

import pytest
from ams_common.access import may_call_from, may_make_call
from ams_common.call_rules import CallRule, may_call, plain_path, rule_problem
from ams_common.networks import read_network
from hypothesis import given
from hypothesis import strategies as st

ANY = frozenset[str]()
SEGMENT = st.text(min_size=1, max_size=8).filter(
    lambda text: (
        text.isprintable()
        and "/" not in text
        and "\\" not in text
        and "%" not in text
        and text.split(";", 1)[0] not in ("", ".", "..")
    )
)
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))


@given(PATHS)
def test_a_path_fits_itself_however_it_is_encoded(path: str) -> None:
    rule = CallRule(ANY, path)
    everything = "".join(f"%{byte:02x}" if byte != 0x2F else "/" for byte in path.encode())
    for encoded in (quote(path), everything):
        assert may_call([rule], "GET", encoded.encode())


@given(PATHS, PATHS)
def test_a_prefix_fits_all_below_it_and_nothing_else(path: str, below: str) -> None:
    rule = CallRule(ANY, path + "/*")
    assert may_call([rule], "GET", quote(path + below).encode())
    assert may_call([rule], "GET", quote(path + "/").encode())
    assert not may_call([rule], "GET", quote(path).encode())
    assert not may_call([rule], "GET", quote(path + "x" + below).encode())


@given(st.binary(max_size=30))
def test_what_fits_a_prefix_never_leads_out_of_it(tail: bytes) -> None:
    """By any reading: decoded once or twice, with backslashes as slashes, without parameters."""
    if not may_call([CallRule(ANY, "/v1/*")], "GET", b"/v1/" + tail):
        return

    for text in (tail, unquote_to_bytes(tail), unquote_to_bytes(unquote_to_bytes(tail))):
        segments = text.replace(b"\\", b"/").split(b"/")
        assert not {b".", b".."} & {segment.split(b";", 1)[0] for segment in segments}


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/../admin", b"/v1/%2e%2e/admin", b"/v1/.%2E/admin", b"/v1/..;a=b/admin", b"/v1/./x", b"/v1//x",
        b"//v1/x", b"/v1/a%2fb", b"/v1/a%5cb", b"/v1/a\\b", b"/v1/%252e%252e/x", b"/v1/%2525", b"/v1/%00",
        b"/v1/%0a", b"/v1/%7f", b"/v1/%c0%ae%c0%ae/x", b"/v1/%ff", b"/v1/%", b"/v1/%2", b"/v1/%zz", b"v1/x",
        b"", b"/v1/;x/y",
    ],
)  # fmt: skip
def test_what_servers_could_read_differently_fits_nothing(path: bytes) -> None:
    assert plain_path(path) is None
    assert not may_call([CallRule(ANY, "/*"), CallRule(ANY, "/v1/*")], "GET", path)


def test_a_call_without_a_path_is_one_to_the_root() -> None:
    assert may_call([CallRule(ANY, "/")], "POST", None)
    assert may_call([CallRule(ANY, "/*")], "POST", None)
    assert not may_call([CallRule(ANY, "/v1")], "POST", None)


def test_methods_are_those_of_the_rule_and_get_stands_for_head() -> None:
    rule = CallRule(frozenset({"GET", "POST"}), "/x")
    assert [may_call([rule], method, b"/x") for method in ("GET", "HEAD", "POST", "DELETE", "get")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not may_call([CallRule(frozenset({"HEAD"}), "/x")], "GET", b"/x")


def test_one_fitting_rule_is_enough_and_none_bounds_nothing() -> None:
    rules = [CallRule(frozenset({"GET"}), "/a"), CallRule(frozenset({"POST"}), "/b")]
    assert may_make_call(rules, "POST", b"/b")
    assert not may_make_call(rules, "POST", b"/a")
    assert may_make_call([], "POST", b"/../x")


@pytest.mark.parametrize(
    ("methods", "path"),
    [
        (["get"], "/x"), (["G T"], "/x"), ([""], "/x"), (["GET", "GET"], "/x"), ([], "x"), ([], ""),
        ([], "/v1*"), ([], "/*/x"), ([], "/v1/**"), ([], "/a?b"), ([], "/a#b"), ([], "/a%20b"), ([], "/../x"),
        ([], "/a//b"), ([], "/a\\b"), ([], "/a\nb"), ([], "/" + "x" * 200),
    ],
)  # fmt: skip
def test_rules_that_could_never_fit_are_refused(methods: list[str], path: str) -> None:
    assert rule_problem(methods, path) is not None


@given(PATHS.filter(lambda path: not set(path) & set("*?#%")), st.booleans())
def test_rules_that_are_taken_fit_what_they_say(path: str, is_prefix: bool) -> None:
    assert rule_problem(["GET"], path + "/*" if is_prefix else path) is None
    assert rule_problem([], "/*") is None
    assert rule_problem([], "/v1/") is None


@pytest.mark.parametrize(
    ("address", "is_within"),
    [
        ("192.0.2.7", True), ("192.0.3.7", False), ("2001:db8::1", True), ("2001:db9::1", False),
        ("203.0.113.9", True), ("203.0.113.10", False), ("", False),
    ],
)  # fmt: skip
def test_an_address_is_in_a_network_of_its_family(address: str, is_within: bool) -> None:
    networks = [read_network(text) for text in ("192.0.2.0/24", "2001:db8::/32", "203.0.113.9")]
    assert may_call_from(networks, address) == is_within
    assert may_call_from([], address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "192.0.2.7/24",
        "192.0.2.0/33",
        "2001:db8::1/32",
        "1.2.3",
        "::ffff:192.0.2.0/120",
        "1.2.3.4/0.0.0.0x",
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_network(text)


def test_a_host_with_bits_beyond_its_prefix_is_told_its_network() -> None:
    with pytest.raises(ValueError, match=r"the network is 192\.0\.2\.0/24"):
        read_network("192.0.2.7/24")
