"""Admins see what keys-svc could not apply, have it applied once that can be, and give it up."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from ams.catalog.v1.events_pb2 import CatalogEvent, ServiceChanged
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.dead_letters.v1.dead_letters_service_pb2 import DESCRIPTOR
from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.consumer import Subscription
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.prices import price_message
from ams_common.subscriptions import TopicHandler
from ams_common.testing.dead_letters import Letters, reading
from ams_common.testing.eventually import eventually
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from ams_rating.prices import Component, Meter, PerUnit, Price
from keys_svc.event_handlers import apply_catalog_events, apply_identity_events
from keys_svc.store import Store


@pytest.fixture
async def letters(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str, issuer: TestIssuer, serve_rpc: Serve
) -> AsyncIterator[Letters]:
    handlers: list[TopicHandler[Any]] = [
        Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events),
        Subscription(topics.CATALOG_EVENTS, CatalogEvent, apply_catalog_events),
    ]
    async with reading(
        "keys", handlers, database, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened


def named(service_id: UUID, name: str, at: datetime) -> CatalogEvent:
    changed = ServiceChanged(service_id=str(service_id), merchant_id=str(uuid7()), name=name, slug="weather")
    return CatalogEvent(occurred_at=to_timestamp(at), service_changed=changed)


def priced(service_id: UUID) -> CatalogEvent:
    price = Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal(1))),))
    version = PriceVersion(
        price_version_id=str(uuid7()),
        service_id=str(service_id),
        price=price_message(price),
        starts_at=to_timestamp(utc_now()),
    )
    return CatalogEvent(occurred_at=to_timestamp(utc_now()), price_version_changed=version)


async def test_the_price_of_an_unknown_service_is_kept_once_the_service_is_known(
    letters: Letters, written: Any
) -> None:
    service_id = uuid7()
    letter = await letters.kept(topics.CATALOG_EVENTS, priced(service_id))
    assert f"nothing was heard of the service {service_id}" in letter.error
    assert str(service_id) in letter.content
    await letters.send(topics.CATALOG_EVENTS, named(service_id, "Weather", utc_now()))

    async def is_known() -> bool:
        return bool(await written.count("services"))

    await eventually(is_known)
    assert await written.count("price_versions") == 0
    await letters.check_replay(letter)
    assert await written.count("price_versions") == 1


async def test_what_is_replayed_after_later_news_undoes_none_of_them(
    letters: Letters, database: Database[Store]
) -> None:
    service_id, now = uuid7(), utc_now()

    async def name() -> str:
        async with database.read() as store:
            service = await store.find_service(service_id=service_id)
        return service.name if service is not None else ""

    async with database.connection() as connection:
        await connection.execute("ALTER TABLE services ADD CONSTRAINT no_old CHECK (name <> 'Old')")
        letter = await letters.kept(topics.CATALOG_EVENTS, named(service_id, "Old", now))
        assert "no_old" in letter.error
        await connection.execute("ALTER TABLE services DROP CONSTRAINT no_old")
    await letters.send(topics.CATALOG_EVENTS, named(service_id, "New", now + timedelta(seconds=1)))
    await eventually(name)
    await letters.check_replay(letter)
    assert await name() == "New"


async def test_only_admins_decide_and_each_letter_is_decided_once(letters: Letters) -> None:
    await letters.check_decisions(topics.IDENTITY_EVENTS)


async def test_each_rpc_lets_in_admins_and_nobody_else(letters: Letters, issuer: TestIssuer) -> None:
    service = DESCRIPTOR.services_by_name["DeadLettersService"]
    assert await callers_let_in(letters.channel, service, issuer) == {
        "ListDeadLetters": {"admin"},
        "ReplayDeadLetter": {"admin"},
        "DismissDeadLetter": {"admin"},
    }
