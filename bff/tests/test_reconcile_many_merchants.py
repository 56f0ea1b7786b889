"""Reconciliation of more merchants than one page, or one answer, can hold."""

import asyncio
import re
from datetime import date
from typing import Any

import asyncpg
import pytest
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"
FIRST, LAST, CROWDED = (date(2026, 3, day) for day in (1, 2, 3))
PATH = "/admin/reconciliation"
BOTH = f"from={FIRST}&to={LAST}"
ADD = """
INSERT INTO usage_counters (day, merchant_id, consumer_id, api_key_id, service_id, charge_class, events,
    requests, request_bytes, response_bytes, last_offsets)
SELECT $1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'served', 2,
    2, 20, 200, '{}'
FROM generate_series(1, $2)
"""


async def _add(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for day, count in ((FIRST, 4_000), (LAST, 2_000), (CROWDED, 5_001)):
        await connection.execute(ADD, day, count)
    await connection.close()


@pytest.fixture(scope="module")
def merchants(all_services: Any) -> None:
    """On the first day 4,000 merchants' calls were counted, on the last 2,000 others', and on a crowded one
    more than can be told of; none is recorded."""
    asyncio.run(_add(all_services.database_urls["billing"]))


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Browser:
    return browsers.sign_in(ADMIN_EMAIL)  # type: ignore[no-any-return]


@pytest.mark.usefixtures("merchants")
def test_an_admin_with_too_many_merchants_sees_the_last_day(admin: Browser) -> None:
    page = admin.get(f"{PATH}?{BOTH}")
    assert page.status == 200
    assert "Only the last day is shown" in page.text
    assert page.text.count('data-label="Differences"') == 500
    assert "1,500 further rows are in the CSV file" in page.text
    # What is shown is what the file has.
    [link] = re.findall(rf'href="({PATH}/table\.csv[^"]*)"', page.text)
    assert link == f"{PATH}/table.csv?from={LAST}&amp;to={LAST}"
    header, *rows = admin.get(link.replace("&amp;", "&")).text.splitlines()
    assert header.startswith("day,merchant_id,forwarded,recorded,rated,invoiced,request_bytes_recorded,")
    assert len(rows) == 2_000
    assert all(
        row.startswith(f"{LAST},")
        and row.endswith(
            ",0,0,2,0,0,20,0,0,200,0,no,"
            "rated_not_recorded=2; bytes_rated_not_recorded=20/200;"
            " price_unknown=2; bytes_price_unknown=20/200"
        )
        for row in rows
    )


@pytest.mark.usefixtures("merchants")
def test_a_file_is_of_all_its_days_or_of_none(admin: Browser) -> None:
    assert admin.get(f"{PATH}/table.csv?{BOTH}").status == 404


@pytest.mark.usefixtures("merchants")
def test_of_a_day_with_too_many_merchants_one_is_to_be_chosen(admin: Browser) -> None:
    page = admin.get(f"{PATH}?from={FIRST}&to={CROWDED}")
    assert page.status == 200
    assert "Too many merchants for one page" in page.text
    assert "Everything agrees" not in page.text
    assert "everything agrees" not in page.text


@pytest.mark.usefixtures("merchants")
def test_the_page_says_what_the_differences_on_it_mean_and_nothing_of_others(admin: Browser) -> None:
    text = admin.get(f"{PATH}?from={LAST}&to={LAST}").text
    assert "Only the last day is shown" not in text
    legend = re.findall(r"<dt>([^<]+)</dt>", text[text.index("What the differences mean") :])
    assert legend == [
        "Rated, not recorded",
        "Bytes rated, not recorded",
        "No price known",
        "Bytes without a known price",
    ]
