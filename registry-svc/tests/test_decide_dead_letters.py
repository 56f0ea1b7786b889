"""Admins see what registry-svc could not apply, have it applied once that can be, and give it up."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from ams.dead_letters.v1.dead_letters_service_pb2 import DESCRIPTOR
from ams.identity.v1.events_pb2 import IdentityEvent, MerchantChanged
from ams_common import topics
from ams_common.consumer import Subscription
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.dead_letters import Letters, reading
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from registry_svc.event_handlers import apply_identity_events
from registry_svc.storage.store import Store


@pytest.fixture
async def letters(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str, issuer: TestIssuer, serve_rpc: Serve
) -> AsyncIterator[Letters]:
    handlers = [Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)]
    async with reading(
        "registry", handlers, database, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened


async def slug_of(database: Database[Store], merchant_id: UUID) -> str | None:
    async with database.read() as store:
        return await store.merchant_slug(merchant_id=merchant_id)


async def test_a_slug_that_the_table_refused_is_known_once_its_rule_allows_it(
    letters: Letters, database: Database[Store]
) -> None:
    merchant_id = uuid7()
    changed = MerchantChanged(merchant_id=str(merchant_id), display_name="Geo", slug="geo_maps")
    letter = await letters.kept(topics.IDENTITY_EVENTS, IdentityEvent(merchant_changed=changed))
    assert "merchants_slug_check" in letter.error
    assert 'slug: "geo_maps"' in letter.content
    assert await slug_of(database, merchant_id) is None
    async with database.connection() as connection:
        # As a later release's migration would.
        await connection.execute("ALTER TABLE merchants DROP CONSTRAINT merchants_slug_check")
    await letters.check_replay(letter)
    assert await slug_of(database, merchant_id) == "geo_maps"


async def test_only_admins_decide_and_each_letter_is_decided_once(letters: Letters) -> None:
    await letters.check_decisions(topics.IDENTITY_EVENTS)


async def test_each_rpc_lets_in_admins_and_nobody_else(letters: Letters, issuer: TestIssuer) -> None:
    service = DESCRIPTOR.services_by_name["DeadLettersService"]
    assert await callers_let_in(letters.channel, service, issuer) == {
        "ListDeadLetters": {"admin"},
        "ReplayDeadLetter": {"admin"},
        "DismissDeadLetter": {"admin"},
    }
