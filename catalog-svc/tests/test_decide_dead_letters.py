"""Admins see what catalog-svc could not apply, have it applied once that can be, and give it up."""

from collections.abc import AsyncIterator

import pytest
from ams.dead_letters.v1.dead_letters_service_pb2 import DESCRIPTOR
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED, IdentityEvent
from ams_common import topics
from ams_common.consumer import Subscription
from ams_common.database import Database
from ams_common.testing.dead_letters import Letters, reading
from ams_common.testing.eventually import eventually
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from catalog_svc.event_handlers import apply_identity_events
from catalog_svc.store import Store
from catalog_svc.testing import Caller, Catalog, merchant_event


@pytest.fixture
async def letters(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str, issuer: TestIssuer, serve_rpc: Serve
) -> AsyncIterator[Letters]:
    handlers = [Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)]
    async with reading(
        "catalog", handlers, database, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened


async def known(catalog: Catalog, merchant: Caller) -> tuple[str, str] | None:
    """The merchant's name and standing."""
    rows = await catalog.rows(
        "SELECT display_name, standing FROM merchants WHERE merchant_id = $1", merchant.user_id
    )
    return (rows[0]["display_name"], rows[0]["standing"]) if rows else None


async def refuse(database: Database[Store], name: str) -> None:
    """Makes merchants of this name unapplicable, as a wrong migration would."""
    async with database.connection() as connection:
        await connection.execute(
            f"ALTER TABLE merchants ADD CONSTRAINT wrong CHECK (display_name <> '{name}')"
        )


async def refuse_nothing(database: Database[Store]) -> None:
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE merchants DROP CONSTRAINT wrong")


async def test_a_merchant_that_the_database_refused_is_known_once_it_is_replayed(
    letters: Letters, catalog: Catalog, database: Database[Store]
) -> None:
    merchant = catalog.merchant()
    await refuse(database, "Acme")
    letter = await letters.kept(topics.IDENTITY_EVENTS, merchant_event(merchant.user_id, "Acme"))
    assert "wrong" in letter.error
    assert 'display_name: "Acme"' in letter.content
    assert await known(catalog, merchant) is None
    await refuse_nothing(database)
    await letters.check_replay(letter)
    assert await known(catalog, merchant) == ("Acme", "active")


async def test_what_is_replayed_after_later_news_undoes_none_of_them(
    letters: Letters, catalog: Catalog, database: Database[Store]
) -> None:
    merchant = catalog.merchant()
    await refuse(database, "Old")
    old = merchant_event(merchant.user_id, "Old", STANDING_ACTIVE, 1)
    letter = await letters.kept(topics.IDENTITY_EVENTS, old)
    await refuse_nothing(database)
    await letters.send(topics.IDENTITY_EVENTS, merchant_event(merchant.user_id, "New", STANDING_SUSPENDED, 2))
    assert await eventually(lambda: known(catalog, merchant)) == ("New", "suspended")
    await letters.check_replay(letter)
    assert await known(catalog, merchant) == ("New", "suspended")


async def test_only_admins_decide_and_each_letter_is_decided_once(letters: Letters) -> None:
    await letters.check_decisions(topics.IDENTITY_EVENTS)


async def test_each_rpc_lets_in_admins_and_nobody_else(letters: Letters, issuer: TestIssuer) -> None:
    service = DESCRIPTOR.services_by_name["DeadLettersService"]
    assert await callers_let_in(letters.channel, service, issuer) == {
        "ListDeadLetters": {"admin"},
        "ReplayDeadLetter": {"admin"},
        "DismissDeadLetter": {"admin"},
    }
