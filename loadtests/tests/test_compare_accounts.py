"""Whatever one account of the calls has and another lacks is named."""

from collections.abc import Sequence

import pytest
from ams.usage.v1.events_pb2 import SERVED, ForwardedTotal, UsageEvent, UsageEventBatch, UsageTotal

from loadtests.proofs.accounts import Accounts, differences, gaps, misforwarded, told_requests
from loadtests.proofs.usage_topic import events_of

JOURNAL = bytes(range(16))
NAMES = ("a", "b", "c")


def event(name: str, sequence: int, status: int = 200) -> UsageEvent:
    return UsageEvent(
        event_id=name.encode() * 16,
        request_id=name,
        journal_id=JOURNAL,
        sequence=sequence,
        status_code=status,
    )


EVENTS = [event(name, number) for number, name in enumerate(NAMES, 1)]


def accounts(
    *,
    answered: Sequence[str] = NAMES,
    upstream: Sequence[str] = NAMES,
    events: Sequence[UsageEvent] = EVENTS,
    calls: Sequence[int] = (1, 1, 1),
) -> Accounts:
    return Accounts(
        {name: number for number, name in enumerate(answered, 1)},
        upstream,
        dict(enumerate(calls, 1)),
        events,
    )


def test_equal_accounts_have_no_difference_though_events_are_read_twice() -> None:
    assert differences(accounts(events=EVENTS * 2)) == []


def test_a_call_that_a_kill_cut_off_may_have_no_event() -> None:
    assert differences(accounts(answered=NAMES[:2], events=EVENTS[:2])) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (accounts(events=EVENTS[:2]), "answered calls have no event"),
        (accounts(upstream=NAMES[:2]), "not in the upstream's log"),
        (accounts(answered=NAMES[:2], upstream=NAMES[:2]), "the upstream never had"),
        (accounts(calls=(1, 2, 1)), "more than once"),
        (accounts(events=[*EVENTS, event("c", 3, status=500)]), "several spellings"),
        (accounts(events=[*EVENTS, UsageEvent(event_id=b"other", request_id="c")]), "several events"),
        (accounts(events=[EVENTS[0], EVENTS[1], event("c", 5)]), "lacks 2 numbers, as 3"),
        (accounts(events=[EVENTS[0], EVENTS[1], event("c", 2)]), "two events with the number 2"),
    ],
)
def test_what_differs_is_named(wrong: Accounts, said: str) -> None:
    assert any(said in line for line in differences(wrong))


def test_events_without_numbers_have_no_gaps() -> None:
    assert gaps([UsageEvent(event_id=b"x")]) == []


def test_both_forms_of_a_kafka_value_are_read() -> None:
    assert events_of(EVENTS[0].SerializeToString()) == [EVENTS[0]]
    assert events_of(UsageEventBatch(events=EVENTS).SerializeToString()) == EVENTS


def test_of_the_totals_of_a_group_the_greatest_counts_whichever_comes_last() -> None:
    totals = [
        UsageTotal(api_key_id=key, day=day, charge_class=SERVED, requests=requests)
        for key, day, requests in [
            ("one", "2026-11-29", 5),
            ("one", "2026-11-29", 9),
            ("one", "2026-11-29", 7),
            ("other", "2026-11-29", 4),
            ("one", "2026-11-30", 1),
        ]
    ]
    assert told_requests(totals) == 14


def test_a_journal_that_says_another_number_than_its_events_are_is_named() -> None:
    def said(events: int) -> ForwardedTotal:
        return ForwardedTotal(journal_id=JOURNAL, day="2026-11-29", events=events)

    assert misforwarded([said(2), said(3), said(1)], EVENTS * 2) == []
    (line,) = misforwarded([said(2)], EVENTS)
    assert line.endswith("says 2 events, and there are 3")
    assert len(misforwarded([], EVENTS)) == len(misforwarded([said(3)], [])) == 1
