"""Pages of usage, of single calls, consumers: for whom they are, and what they can be asked."""

from typing import Any

import pytest
from ams_common.ids import uuid7
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"
_CONSUMERS = ("/dashboard/usage", "/dashboard/usage/2026-11-01")
_ADMINS = ("/admin/usage", "/admin/usage/2026-11-01")
_MERCHANTS = ("/merchant/usage", "/merchant/usage/2026-11-01", "/merchant/consumers")


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Browser:
    return browsers.sign_in(ADMIN_EMAIL)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def member(browsers: Any) -> Browser:
    return browsers.register()  # type: ignore[no-any-return]


def test_pages_are_for_the_role_of_their_area(admin: Browser, member: Browser) -> None:
    for paths, reader, other in ((_CONSUMERS, member, admin), (_ADMINS, admin, member)):
        for path in paths:
            assert reader.get(path).status == 200, path
            assert other.get(path).status == 403, path
    for path in _MERCHANTS:
        assert (admin.get(path).status, member.get(path).status) == (403, 403), path


@pytest.mark.parametrize(
    "query",
    [
        "range=12mo&by=day",
        "range=7d&by=day&group=project",
        "from=2026-01-01&to=2026-11-20&by=month&group=status",
        "from=2026-11-01&group=key&top=25",
        "status=5xx&range=90d",
        "from=x&to=y&top=7&by=week&group=nothing",
    ],
)
def test_any_range_grain_and_group_is_a_page_and_two_files(member: Browser, query: str) -> None:
    for path in ("/dashboard/usage", "/dashboard/usage/table.csv", "/dashboard/usage/chart.csv"):
        answer = member.get(f"{path}?{query}")
        assert answer.status == 200, (path, answer.text[:500])


def test_days_of_ones_own_stand_in_the_form_and_in_every_link(member: Browser) -> None:
    text = member.get("/dashboard/usage?from=2026-11-01&to=2026-11-15&group=status").text
    assert 'name="from" aria-label="First day"' in text
    assert 'value="2026-11-01"' in text
    assert "from=2026-11-01&amp;to=2026-11-15&amp;group=status&amp;by=hour" in text
    assert "1 to 15 November 2026" in text


def test_days_are_the_readers(browsers: Any) -> None:
    reader = browsers.register()
    reader.cookies["ams_zone"] = "Pacific%2FAuckland"
    rows = reader.get("/dashboard/usage/chart.csv?from=2026-11-01&to=2026-11-03&by=day").text.splitlines()
    assert [row.partition(",")[0] for row in rows] == [
        "start",
        "2026-11-01T00:00:00+13:00",
        "2026-11-02T00:00:00+13:00",
        "2026-11-03T00:00:00+13:00",
    ]


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "2026-11-1", "0001-01-01", "20261101"])
def test_what_is_no_day_is_no_page(member: Browser, day: str) -> None:
    assert member.get(f"/dashboard/usage/{day}").status == 404


def test_a_call_that_nobody_made_is_looked_for_and_not_found(member: Browser) -> None:
    page = member.get(f"/dashboard/usage/2026-11-01?request={uuid7()}")
    assert (page.status, "No call has this ID" in page.text) == (200, True)


def test_calls_can_be_narrowed_and_kept(member: Browser, admin: Browser) -> None:
    query = "status=4xx&slow=500"
    page = member.get(f"/dashboard/usage/2026-11-01?{query}")
    assert (page.status, "No calls" in page.text) == (200, True)
    head = member.get(f"/dashboard/usage/2026-11-01/table.csv?{query}").text.splitlines()
    assert head == [
        "occurred_at,service,service_id,consumer,key,project_id,status_code,outcome,charge,test,continuation,"
        "response_time_ms,request_bytes,response_bytes,request_messages,response_messages,request_id"
    ]
    assert admin.get(f"/admin/usage/2026-11-01?consumer={uuid7()}&merchant={uuid7()}").status == 200
    assert admin.get("/admin/usage/2026-11-01?consumer=evil").status == 404
