"""The digest that an invoice carries stands for its roots and for no others."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from ams_rating.merkle import EMPTY_ROOT
from ams_rating.proof import DayRoot
from ams_rating.root_digest import root_digest
from ams_rating.testing import File, file_of, used
from ams_rating.verify import Verification

FILE = file_of(used())
DIGEST = root_digest(FILE.roots)

CHANGES: dict[str, Callable[[list[DayRoot]], list[DayRoot]]] = {
    "a hash": lambda roots: [replace(roots[0], root=bytes(32)), *roots[1:]],
    "a number of events": lambda roots: [replace(roots[0], events=roots[0].events + 1), *roots[1:]],
    "an edition": lambda roots: [*roots[:-1], replace(roots[-1], edition=9)],
    "a day": lambda roots: [*roots[:-1], replace(roots[-1], day=roots[-1].day + timedelta(days=1))],
    "one less": lambda roots: roots[1:],
    "one more": lambda roots: [*roots, replace(roots[-1], edition=9)],
    "none": lambda roots: [],
}


def differences(file: File, digest: bytes | None) -> list[str]:
    return [str(each) for each in Verification(file.rows(), digest=digest).differences()]


def test_it_is_the_tree_that_the_page_describes() -> None:
    """By hand, for three roots: the third moves up as it is."""
    first, second, third = FILE.roots[:3]

    def leaf(root: DayRoot) -> bytes:
        text = f"ams-day-root/1|{root.merchant_id}|{root.day}|{root.edition}|{root.events}|{root.root.hex()}"
        return hashlib.sha256(b"\0" + text.encode()).digest()

    below = hashlib.sha256(b"\1" + leaf(first) + leaf(second)).digest()
    assert root_digest([first, second, third]) == hashlib.sha256(b"\1" + below + leaf(third)).digest()
    assert root_digest([]) == EMPTY_ROOT


def test_the_order_in_which_roots_come_is_of_no_account() -> None:
    assert root_digest(reversed(FILE.roots)) == DIGEST


def test_a_file_whose_roots_are_the_invoices_agrees() -> None:
    assert differences(FILE, DIGEST) == []
    verification = Verification(FILE.rows(), digest=DIGEST)
    list(verification.differences())
    assert not any("--digest" in line for line in verification.summary())


@pytest.mark.parametrize("change", CHANGES)
def test_any_other_roots_are_named(change: str) -> None:
    roots = CHANGES[change](list(FILE.roots))
    assert root_digest(roots) != DIGEST
    changed = replace(FILE, roots=tuple(roots))
    (difference,) = [each for each in differences(changed, DIGEST) if each.startswith("roots: ")]
    assert difference.endswith(f"but the invoice says {DIGEST.hex()}")
    # Who has no digest is told what it would be.
    verification = Verification(changed.rows())
    list(verification.differences())
    assert any(root_digest(roots).hex() in line for line in verification.summary())


def test_another_merchants_roots_have_another_digest() -> None:
    roots = [replace(root, merchant_id=FILE.price_versions[0].service_id) for root in FILE.roots]
    assert root_digest(roots) != DIGEST
