"""The demo marketplace's past is one that a gateway could have told of."""

from datetime import UTC, datetime

import pytest
from ams.usage.v1.events_pb2 import ANSWERED, UsageEvent
from ams_common.ids import uuid7
from ams_local import history

NOW = datetime(2026, 11, 29, 13, 5, tzinfo=UTC)
DAYS = 59


def call(consumer_id: str, service_id: str) -> UsageEvent:
    return UsageEvent(
        event_id=uuid7().bytes,
        journal_id=uuid7().bytes,
        sequence=17,
        consumer_id=consumer_id,
        service_id=service_id,
        merchant_id=f"merchant of {service_id}",
        status_code=200,
        outcome=ANSWERED,
    )


CALLS = [call("carla", "currency"), call("carla", "quotes"), call("dev", "quotes")]


@pytest.fixture(scope="module")
def past() -> list[UsageEvent]:
    return history.earlier(CALLS, DAYS, NOW)


def test_it_fills_every_day_of_last_month_and_ends_now(past: list[UsageEvent]) -> None:
    days = {history.day_of(event) for event in past}
    assert {f"2026-10-{day:02}" for day in range(1, 32)} <= days
    assert max(event.timestamp.ToDatetime(UTC) for event in past) <= NOW


def test_its_events_are_numbered_in_a_journal_of_their_own_without_a_gap(past: list[UsageEvent]) -> None:
    assert [event.sequence for event in past] == list(range(1, len(past) + 1))
    assert len({event.event_id for event in past}) == len(past)
    (journal_id,) = {event.journal_id for event in past}
    assert journal_id not in {event.journal_id for event in CALLS}


def test_each_event_is_in_one_batch_of_its_consumer(past: list[UsageEvent]) -> None:
    batches = list(history.batches(past))
    assert all(len({event.consumer_id for event in batch.events}) == 1 for batch in batches)
    assert sorted(event.sequence for batch in batches for event in batch.events) == list(
        range(1, len(past) + 1)
    )


def test_what_is_told_as_forwarded_is_what_there_is(past: list[UsageEvent]) -> None:
    totals = list(history.forwarded(past))
    assert sum(total.events for total in totals) == len(past)
    assert len({(total.day, total.merchant_id, total.consumer_id) for total in totals}) == len(totals)


def test_a_projects_calls_are_repeated_beside_its_owners_own() -> None:
    own, of_project = call("carla", "currency"), call("carla", "currency")
    of_project.project_id = "checkout"
    assert history.one_of_each([own, of_project, own]) == [own, of_project]


def test_calls_are_repeated_for_each_consumer_and_service_alike() -> None:
    again = [call("carla", "currency"), *CALLS, call("dev", "quotes")]
    pairs = [(event.consumer_id, event.service_id) for event in history.one_of_each(again)]
    assert pairs == [("carla", "currency"), ("carla", "quotes"), ("dev", "quotes")]


@pytest.mark.parametrize(
    ("now", "days"),
    [(NOW, DAYS), (datetime(2026, 3, 1, tzinfo=UTC), 28), (datetime(2027, 1, 31, 23, 59, tzinfo=UTC), 61)],
)
def test_the_past_begins_with_last_month(now: datetime, days: int) -> None:
    assert history.days_since_last_month_began(now) == days
