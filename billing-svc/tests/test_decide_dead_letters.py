"""Admins see what billing-svc could not apply, have it applied once that can be, and give it up."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from ams.dead_letters.v1.dead_letters_service_pb2 import DESCRIPTOR
from ams_common import topics
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.dead_letters import Letters, reading
from ams_common.testing.eventually import eventually
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from billing_svc.event_handlers import SUBSCRIPTIONS
from billing_svc.store import Store
from billing_svc.testing import Billing, per_request, price_changed


@pytest.fixture
async def letters(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str, issuer: TestIssuer, serve_rpc: Serve
) -> AsyncIterator[Letters]:
    async with reading(
        "billing", SUBSCRIPTIONS, database, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened


async def test_a_price_is_known_once_the_wrong_one_in_its_place_is_gone(
    letters: Letters, billing: Billing
) -> None:
    version_id, service_id, at = uuid7(), uuid7(), datetime(2026, 1, 1, tzinfo=UTC)

    async def amounts() -> list[str]:
        rows = await billing.rows(
            "SELECT price #>> '{components,0,amount}' AS amount FROM price_versions"
            " WHERE price_version_id = $1",
            version_id,
        )
        return [row["amount"] for row in rows]

    await letters.send(topics.CATALOG_EVENTS, price_changed(version_id, service_id, per_request("9"), at))
    assert await eventually(amounts) == ["9"]
    letter = await letters.kept(
        topics.CATALOG_EVENTS, price_changed(version_id, service_id, per_request("1"), at)
    )
    assert "came again with another price" in letter.error
    assert str(version_id) in letter.content
    assert await amounts() == ["9"]
    await billing.execute("DELETE FROM price_versions WHERE price_version_id = $1", version_id)
    await letters.check_replay(letter)
    assert await amounts() == ["1"]


async def test_only_admins_decide_and_each_letter_is_decided_once(letters: Letters) -> None:
    await letters.check_decisions(topics.USAGE_AGGREGATED)


async def test_each_rpc_lets_in_admins_and_nobody_else(letters: Letters, issuer: TestIssuer) -> None:
    service = DESCRIPTOR.services_by_name["DeadLettersService"]
    assert await callers_let_in(letters.channel, service, issuer) == {
        "ListDeadLetters": {"admin"},
        "ReplayDeadLetter": {"admin"},
        "DismissDeadLetter": {"admin"},
    }
