"""What differs between two figures of a day has a name, words and a verdict."""

from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
from billing_svc.reconciliation import (
    KINDS,
    Amount,
    Part,
    Rated,
    ReconciledDay,
    Recorded,
    reconcile,
)

KEY = (date(2026, 11, 10), UUID(int=1))
ONE = Amount(1, 10, 100)
OPEN = ("not_charged", "price_unknown", "not_invoiced_yet")


def agreeing(calls: int) -> Part:
    """So many calls, all of them on invoices."""
    all_calls = Amount(calls, 10 * calls, 100 * calls)
    return Part(Recorded(forwarded=calls, recorded=all_calls, told=all_calls), Rated(all_calls, all_calls))


def named(day: ReconciledDay) -> dict[str, Amount]:
    return {each.code: each.amount for each in day.differences}


def test_four_equal_figures_differ_by_nothing() -> None:
    day = reconcile(KEY, [agreeing(3), agreeing(4)])
    assert (day.forwarded, day.recorded, day.rated, day.invoiced) == (7, *[Amount(7, 70, 700)] * 3)
    assert (day.differences, day.is_reconciled) == ((), True)


def test_every_difference_that_can_be_has_words_and_a_verdict_and_every_kind_can_be() -> None:
    too_few = Part(
        Recorded(
            forwarded=6,
            recorded=Amount(3, 20, 200),
            test=ONE,
            told=ONE,
            dead_letters=1,
            unrecorded=2,
            untold=1,
        ),
        Rated(open=dict.fromkeys(OPEN, ONE), excess=ONE),
    )
    too_many = Part(Recorded(), Rated(rated=ONE))
    day = reconcile(KEY, [too_few, too_many])
    assert [each.code for each in day.differences] == list(KINDS)
    for code, kind in KINDS.items():
        assert kind.title[0].isupper() and not kind.title.endswith("."), code
        assert kind.message[0].isupper() and kind.message.endswith("."), code
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)


def test_a_code_of_bytes_counts_nothing_and_any_other_has_no_bytes() -> None:
    part = Part(Recorded(told=ONE, recorded=ONE), Rated(open=dict.fromkeys(OPEN, ONE)))
    for code, amount in named(reconcile(KEY, [part])).items():
        assert amount == (Amount(0, 10, 100) if code.startswith("bytes_") else Amount(1)), code


def test_the_docs_say_of_every_code_what_it_means() -> None:
    text = (Path(__file__).parents[2] / "docs" / "billing.md").read_text()
    for code, kind in KINDS.items():
        verdict = "expected" if kind.is_expected else "to look at"
        assert f"| `{code}` | {verdict} |" in text, code


@pytest.mark.parametrize(
    ("more", "code", "amount"),
    [
        (Amount(-1, 0, 0), "not_rated_yet", Amount(1)),
        (Amount(0, -3, 0), "bytes_not_rated", Amount(0, 3)),
        (Amount(0, 0, -3), "bytes_not_rated", Amount(0, 0, 3)),
        (Amount(2, 0, 0), "rated_not_recorded", Amount(2)),
        (Amount(0, 4, 5), "bytes_rated_not_recorded", Amount(0, 4, 5)),
    ],
)
def test_one_figure_that_differs_is_not_reconciled(more: Amount, code: str, amount: Amount) -> None:
    part = agreeing(5)
    rated = part.rated.rated + more
    day = reconcile(KEY, [Part(part.recorded, Rated(rated, rated)), agreeing(5)])
    assert (named(day), day.is_reconciled) == ({code: amount}, False)


def test_what_one_part_has_too_many_hides_nothing_that_another_lacks() -> None:
    one, other = agreeing(5), agreeing(5)
    fewer, more = Amount(4, 30, 500), Amount(6, 70, 500)
    day = reconcile(KEY, [Part(one.recorded, Rated(fewer, fewer)), Part(other.recorded, Rated(more, more))])
    assert day.recorded == day.rated == day.invoiced
    assert named(day) == {
        "not_rated_yet": Amount(1),
        "bytes_not_rated": Amount(0, 20),
        "rated_not_recorded": Amount(1),
        "bytes_rated_not_recorded": Amount(0, 20),
    }
    assert not day.is_reconciled


@pytest.mark.parametrize("code", ["not_charged", "not_invoiced_yet"])
def test_what_is_as_it_should_be_leaves_a_day_reconciled(code: str) -> None:
    recorded = Recorded(forwarded=1, recorded=ONE, told=ONE)
    day = reconcile(KEY, [Part(recorded, Rated(ONE, open={code: ONE}))])
    assert (set(named(day)), day.is_reconciled) == ({code, f"bytes_{code}"}, True)


def test_no_price_and_a_surplus_on_invoices_are_to_be_looked_at() -> None:
    recorded = Recorded(forwarded=1, recorded=ONE, told=ONE)
    for rated in (Rated(ONE, open={"price_unknown": ONE}), Rated(ONE, ONE + ONE, excess=ONE)):
        assert not reconcile(KEY, [Part(recorded, rated)]).is_reconciled
