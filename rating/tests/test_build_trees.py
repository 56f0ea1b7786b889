import hashlib
from collections.abc import Sequence

import pytest
from ams_rating.merkle import EMPTY_ROOT, audit_paths, leaf_hash, path_positions, root_by_path, root_of
from hypothesis import given
from hypothesis import strategies as st

leaves = st.lists(st.binary(max_size=20), max_size=70)
some_leaves = st.lists(st.binary(max_size=20), min_size=1, max_size=70)


def root_by_definition(entries: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    n = len(entries)
    if n == 0:
        return hashlib.sha256().digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    left, right = root_by_definition(entries[:k]), root_by_definition(entries[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def path_by_definition(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1, word for word."""
    n = len(entries)
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*path_by_definition(m, entries[:k]), root_by_definition(entries[k:])]
    return [*path_by_definition(m - k, entries[k:]), root_by_definition(entries[:k])]


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert root_of([]) == EMPTY_ROOT == root_by_definition([])
    assert audit_paths([], []) == []


@given(leaves)
def test_a_root_is_that_of_rfc_6962(entries: list[bytes]) -> None:
    assert root_of(map(leaf_hash, entries)) == root_by_definition(entries)


@given(some_leaves)
def test_audit_paths_are_those_of_rfc_6962(entries: list[bytes]) -> None:
    paths = audit_paths([leaf_hash(entry) for entry in entries], range(len(entries)))
    assert [list(path) for path in paths] == [path_by_definition(m, entries) for m in range(len(entries))]


def test_the_known_roots_of_certificate_transparency() -> None:
    """The test vectors that certificate-transparency's implementations share."""
    entries = [bytes.fromhex(each) for each in ("", "00", "10", "2021", "3031", "40414243")]
    root = root_of(map(leaf_hash, entries))
    assert root.hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"


@given(some_leaves, st.data())
def test_every_leaf_leads_to_the_root_and_from_no_other_place(
    entries: list[bytes], data: st.DataObject
) -> None:
    hashes = [leaf_hash(entry) for entry in entries]
    index = data.draw(st.integers(0, len(entries) - 1))
    elsewhere = data.draw(st.integers(0, len(entries)))
    (path,) = audit_paths(hashes, [index])
    assert root_by_path(hashes[index], index, len(entries), path) == root_of(hashes)
    if elsewhere != index:
        assert (
            root_by_path(hashes[index], elsewhere, len(entries), path) != root_of(hashes)
            or hashes.count(hashes[index]) > 1
        )


@given(some_leaves, st.data())
def test_another_leaf_or_path_leads_to_another_root(entries: list[bytes], data: st.DataObject) -> None:
    hashes = [leaf_hash(entry) for entry in entries]
    index = data.draw(st.integers(0, len(entries) - 1))
    (path,) = audit_paths(hashes, [index])
    assert root_by_path(leaf_hash(entries[index] + b"!"), index, len(entries), path) != root_of(hashes)
    if path:
        changed = data.draw(st.integers(0, len(path) - 1))
        other = (*path[:changed], leaf_hash(b"other"), *path[changed + 1 :])
        assert root_by_path(hashes[index], index, len(entries), other) != root_of(hashes)


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(-1, 2, 1), (2, 2, 1), (0, 0, 0), (0, 1, 1), (0, 2, 0), (0, 2, 2), (4, 5, 3)],
)
def test_a_path_that_fits_no_place_of_the_tree_has_no_root(index: int, size: int, path: int) -> None:
    assert root_by_path(leaf_hash(b""), index, size, [leaf_hash(b"")] * path) is None


def test_a_path_of_other_than_hashes_has_no_root() -> None:
    assert root_by_path(leaf_hash(b""), 0, 2, [b"short"]) is None


def test_a_leaf_outside_of_the_tree_has_no_positions() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        list(path_positions(3, 3))
