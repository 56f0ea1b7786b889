"""Merchants are called by their names however many there are, not only those of a list's first page."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from ams_common.ids import uuid7

ADMIN_EMAIL = "admin@ams.example"
# More than a list has on a page, and more than one request asks the names of.
_MANY = 520
_MAKE = (
    "INSERT INTO users (user_id, email, name, created_at)"
    " SELECT each, 'm-' || each || '@many.example', 'M', now() FROM unnest($1::uuid[]) AS each",
    "INSERT INTO user_roles (user_id, role, granted_at)"
    " SELECT each, 'merchant', now() FROM unnest($1::uuid[]) AS each",
    "INSERT INTO merchant_profiles (user_id, company_name, slug)"
    " SELECT each, 'Company ' || each, 'm-' || each FROM unnest($1::uuid[]) AS each",
)
_REMOVE = (
    "DELETE FROM merchant_profiles WHERE user_id = ANY($1::uuid[])",
    "DELETE FROM user_roles WHERE user_id = ANY($1::uuid[])",
    "DELETE FROM users WHERE user_id = ANY($1::uuid[])",
)
_FORWARD = (
    "INSERT INTO forwarded_totals (journal_id, day, merchant_id, consumer_id, events)"
    " SELECT gen_random_uuid(), (now() - interval '1 day')::date, each, gen_random_uuid(), 1"
    " FROM unnest($1::uuid[]) AS each",
)
_FORGET = ("DELETE FROM forwarded_totals WHERE merchant_id = ANY($1::uuid[])",)


async def _run(url: str, statements: tuple[str, ...], ids: list[Any]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement, ids)
    finally:
        await connection.close()


@pytest.fixture
def merchant_ids(all_services: Any) -> Iterator[list[str]]:
    """Merchants of whom each had a call forwarded yesterday; gone after the test."""
    ids, urls = [uuid7() for _ in range(_MANY)], all_services.database_urls
    asyncio.run(_run(urls["identity"], _MAKE, ids))
    asyncio.run(_run(urls["usage"], _FORWARD, ids))
    yield [str(each) for each in ids]
    asyncio.run(_run(urls["usage"], _FORGET, ids))
    asyncio.run(_run(urls["identity"], _REMOVE, ids))


def test_a_page_of_more_merchants_than_a_list_shows_names_each(
    browsers: Any, merchant_ids: list[str]
) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    page = browsers.sign_in(ADMIN_EMAIL).get(f"/admin/reconciliation?from={yesterday}&to={yesterday}")
    assert page.status == 200
    assert [each for each in merchant_ids if f"Company {each}<" not in page.text] == []
    assert "Merchant …" not in page.text
