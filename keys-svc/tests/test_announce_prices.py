"""Consumers with access to a service hear of its new price, each once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from ams.catalog.v1.events_pb2 import CatalogEvent, ServiceChanged
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.identity.v1.notifications_pb2 import Notification
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.prices import price_message
from ams_common.testing.eventually import eventually
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Meter, PerUnit, Price
from keys_svc import announcing
from keys_svc.announcing import tell_all
from keys_svc.event_handlers import apply_catalog_events
from keys_svc.store import Store

TOMORROW = utc_now() + timedelta(days=1)


def _price(amount: str, rule: ChargeRule | None = None) -> Price:
    unit = Component(Meter.REQUESTS, PerUnit(Decimal(amount)))
    return Price("EUR", (unit,), rule or ChargeRule())


def named(service_id: UUID, name: str = "Weather") -> CatalogEvent:
    changed = ServiceChanged(service_id=str(service_id), merchant_id=str(uuid7()), name=name, slug="weather")
    return CatalogEvent(event_id=str(uuid7()), occurred_at=to_timestamp(utc_now()), service_changed=changed)


def priced(
    service_id: UUID,
    price: Price,
    starts_at: datetime,
    version_id: UUID | None = None,
    canceled_at: datetime | None = None,
) -> CatalogEvent:
    version = PriceVersion(
        price_version_id=str(version_id or uuid7()),
        service_id=str(service_id),
        price=price_message(price),
        starts_at=to_timestamp(starts_at),
        canceled_at=to_timestamp(canceled_at),
    )
    return CatalogEvent(
        event_id=str(uuid7()), occurred_at=to_timestamp(utc_now()), price_version_changed=version
    )


def published(service_id: UUID) -> tuple[CatalogEvent, CatalogEvent]:
    """A service as its approval tells of it."""
    return named(service_id), priced(service_id, _price("0.002"), utc_now() - timedelta(days=30))


Apply = Callable[..., Awaitable[None]]


@pytest.fixture
def hear(database: Database[Store]) -> Apply:
    """`await hear(*events)`: they are handled, without Kafka."""

    async def handle(*events: CatalogEvent) -> None:
        async with database.change_by_system("consume", audited=False) as change:
            await apply_catalog_events(change, events)

    return handle


@pytest.fixture
def told(database: Database[Store]) -> Callable[[], Awaitable[list[Notification]]]:
    """All that is to be told has been; the notifications on their way, in their order."""

    async def read() -> list[Notification]:
        await tell_all(database, utc_now)
        async with database.connection() as connection:
            rows = await connection.fetch(
                "SELECT payload, message_key FROM outbox WHERE topic = $1 ORDER BY outbox_id",
                topics.NOTIFICATIONS,
            )
        notifications = [Notification.FromString(row["payload"]) for row in rows]
        assert [row["message_key"].decode() for row in rows] == [each.user_id for each in notifications]
        return notifications

    return read


async def granted(database: Database[Store], service_id: UUID, consumers: int) -> set[str]:
    """So many consumers with access to the service."""
    ids = [uuid7() for _ in range(consumers)]
    async with database.connection() as connection:
        await connection.executemany("INSERT INTO consumers (consumer_id) VALUES ($1)", [(i,) for i in ids])
        requests = [(uuid7(), consumer_id, service_id, uuid7()) for consumer_id in ids]
        await connection.executemany(
            "INSERT INTO access_requests (access_request_id, consumer_id, service_id, merchant_id, status,"
            " note, requested_at, requested_by, resolved_at, resolved_by, resolver)"
            " VALUES ($1, $2, $3, $4, 'approved', '', now(), $2, now(), $4, 'admin')",
            requests,
        )
        await connection.executemany(
            "INSERT INTO grants (grant_id, access_request_id, consumer_id, service_id, merchant_id,"
            " granted_at) VALUES (gen_random_uuid(), $1, $2, $3, $4, now())",
            requests,
        )
    return {str(consumer_id) for consumer_id in ids}


async def test_everybody_with_access_is_told_what_it_costs_now_and_then(
    hear: Apply, told: Any, database: Database[Store]
) -> None:
    service_id, other_id = uuid7(), uuid7()
    consumers = await granted(database, service_id, 3)
    await granted(database, other_id, 2)
    version_id = uuid7()
    free_errors = ChargeRule(is_client_error_free=True)
    await hear(*published(service_id), *published(other_id))
    assert await told() == []
    await hear(priced(service_id, _price("0.003", free_errors), TOMORROW, version_id))
    notifications = await told()
    assert {each.user_id for each in notifications} == consumers
    ahead = notifications[0].price_change_ahead
    assert (ahead.service_name, ahead.service_slug) == ("Weather", "weather")
    assert ahead.starts_on == TOMORROW.date().isoformat()
    assert ahead.price_before.splitlines()[0] == "EUR 0.002 per request"
    assert ahead.price_then.splitlines()[0] == "EUR 0.003 per request"
    assert "Charged: answers with 4xx." in ahead.price_before.splitlines()
    assert "Not charged: answers with 4xx." in ahead.price_then.splitlines()
    assert not ahead.is_canceled


async def test_a_cancellation_is_told_after_the_price_and_with_an_id_of_its_own(
    hear: Apply, told: Any, database: Database[Store]
) -> None:
    service_id, version_id = uuid7(), uuid7()
    consumers = await granted(database, service_id, 2)
    await hear(
        *published(service_id),
        priced(service_id, _price("1"), TOMORROW, version_id),
        priced(service_id, _price("1"), TOMORROW, version_id, canceled_at=utc_now()),
    )
    notifications = await told()
    for consumer_id in consumers:
        own = [each for each in notifications if each.user_id == consumer_id]
        assert [each.price_change_ahead.is_canceled for each in own] == [False, True]
    assert len({each.notification_id for each in notifications}) == 4


async def test_what_is_read_again_tells_nobody_again_and_would_have_the_same_ids(
    hear: Apply, told: Any, database: Database[Store]
) -> None:
    service_id = uuid7()
    await granted(database, service_id, 3)
    events = [*published(service_id), priced(service_id, _price("1"), TOMORROW)]
    await hear(*events)
    first = await told()
    await hear(*events)
    assert await told() == first
    # A database that was restored from before the announcement tells it anew.
    async with database.connection() as connection:
        await connection.execute("DELETE FROM price_announcements")
    await hear(*events)
    assert await told() == [*first, *first]


async def test_many_are_told_in_chunks_each_once_although_several_processes_do_it(
    hear: Apply, told: Any, database: Database[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "CHUNK", 7)
    service_id = uuid7()
    consumers = await granted(database, service_id, 35)
    await hear(*published(service_id), priced(service_id, _price("1"), TOMORROW))
    await asyncio.gather(*[tell_all(database, utc_now) for _ in range(3)])
    assert sorted(each.user_id for each in await told()) == sorted(consumers)


async def test_nobody_is_told_of_first_prices_and_of_those_of_long_ago(
    hear: Apply, told: Any, database: Database[Store]
) -> None:
    service_id = uuid7()
    await granted(database, service_id, 1)
    await hear(
        named(service_id),
        priced(service_id, _price("1"), utc_now() - timedelta(days=40)),
        priced(service_id, _price("2"), utc_now() - timedelta(days=20)),
    )
    assert await told() == []
    # One that started while keys-svc was away is told of late.
    await hear(priced(service_id, _price("3"), utc_now() - timedelta(hours=3)))
    [notification] = await told()
    assert notification.price_change_ahead.price_before.startswith("EUR 2.00")


async def test_the_price_before_is_the_one_that_will_be_in_force_then(
    hear: Apply, told: Any, database: Database[Store]
) -> None:
    service_id, canceled_id = uuid7(), uuid7()
    await granted(database, service_id, 1)
    in_two, in_three, in_four = [utc_now() + timedelta(days=days) for days in (2, 3, 4)]
    await hear(
        *published(service_id),
        priced(service_id, _price("2"), in_two),
        priced(service_id, _price("3"), in_three, canceled_id),
        priced(service_id, _price("3"), in_three, canceled_id, canceled_at=utc_now()),
        priced(service_id, _price("4"), in_four),
    )
    before = [each.price_change_ahead.price_before.partition(" per")[0] for each in await told()]
    assert before == ["EUR 0.002", "EUR 2.00", "EUR 2.00", "EUR 2.00"]


async def test_events_that_mean_nothing_are_put_aside_and_the_others_applied(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str, send_to: Any, written: Any, told: Any
) -> None:
    service_id = uuid7()
    consumers = await granted(database, service_id, 1)
    no_price = priced(service_id, _price("1"), TOMORROW)
    no_price.price_version_changed.price.currency_code = "XXX"
    await send_to(
        topics.CATALOG_EVENTS,
        *(event.SerializeToString() for event in published(service_id)),
        no_price.SerializeToString(),
        priced(uuid7(), _price("1"), TOMORROW).SerializeToString(),
        priced(service_id, _price("1"), TOMORROW).SerializeToString(),
    )
    subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, apply_catalog_events)
    consumer = EventConsumer(database, kafka_bootstrap, "keys-svc", [subscription], topic_prefix)
    task = asyncio.create_task(consumer.run())
    try:
        [notification] = await eventually(told)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert {notification.user_id} == consumers
    assert await written.dead_letters() == 2
