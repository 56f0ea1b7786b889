"""How late a change was obeyed, from what calls have seen."""

from loadtests.proofs.changes import Measured
from loadtests.proofs.obedience import STEADY, Seen, lateness_s, percentile


def calls(codes: str) -> list[Seen]:
    """A call each tenth of a second: "n" was refused by the new rule, "o" forwarded by the old one."""
    return [Seen(number / 10, "new" if code == "n" else "") for number, code in enumerate(codes)]


def is_new(seen: Seen) -> bool:
    return seen.code == "new"


def test_calls_from_before_the_change_do_not_count() -> None:
    assert lateness_s(calls("ooooo" + "n" * STEADY), 0.5, is_new) == 0


def test_the_last_call_that_did_not_obey_counts() -> None:
    late_s = lateness_s(calls("ooooo" + "onon" + "n" * STEADY), 0.5, is_new)
    assert late_s is not None
    assert round(late_s, 3) == 0.2


def test_a_few_calls_that_obey_show_nothing_yet() -> None:
    assert lateness_s(calls("ooooo" + "n" * (STEADY - 1)), 0.5, is_new) is None
    assert lateness_s(calls("ooooo" + "n" * STEADY + "o"), 0.5, is_new) is None
    assert lateness_s([], 0.5, is_new) is None


def test_percentiles_are_values_that_were_met() -> None:
    values = [number / 100 for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (0.5, 0.99, 1.0)
    assert percentile([7.0], 0.99) == 7.0


def test_one_in_a_hundred_may_be_late_but_none_may_be_missed() -> None:
    assert Measured([*[0.1] * 99, 5.0]).failure(1.0) == ""
    assert Measured([*[0.1] * 98, 5.0, 5.0]).failure(1.0) != ""
    assert Measured([0.1] * 99 + [None]).failure(1.0) != ""
