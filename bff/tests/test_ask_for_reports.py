"""Reports and alerts on their pages: asked for, kept, shown once, and nobody else's."""

import re
from typing import Any

import pytest
from ams_common.ids import uuid7
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"
_REPORTS, _ALERTS = "/dashboard/reports", "/dashboard/alerts"
_DAYS = {"first_day": "2026-11-01", "last_day": "2026-11-20"}
_REPORT = {**_DAYS, "format": "CSV", "detail": "BY_DAY"}
_RULE = {
    "name": "Much",
    "metric": "REQUEST_COUNT",
    "period": "ALERT_DAY",
    "thresholds": "100 500",
    "currency_code": "EUR",
}


@pytest.fixture
def member(browsers: Any) -> Browser:
    return browsers.register()  # type: ignore[no-any-return]


def _made(browsers: Any, member: Browser, **fields: str) -> str:
    """The path of the file of a report, once it is there."""
    asked = member.post(_REPORTS, f"{_REPORTS}/new", **{**_REPORT, **fields})
    assert (asked.status, asked.location) == (303, _REPORTS), asked.text
    found = browsers.all_services.wait_until(
        lambda: re.search(rf'href="({_REPORTS}/[^"/]+/file)"', member.get(_REPORTS).text)
    )
    return str(found[1])


def test_a_report_is_made_in_the_background_and_downloaded(browsers: Any, member: Browser) -> None:
    path = _made(browsers, member)
    file = member.get(path)
    assert file.status == 200
    assert file.headers.get_content_type() == "text/csv"
    assert file.headers["content-disposition"].startswith("attachment; filename*=utf-8''")
    assert len(file.text.encode()) == int(file.headers["content-length"])
    stranger = browsers.register()
    assert stranger.get(path).status == 404
    assert "file" not in re.findall(rf"{_REPORTS}/[^/\"]+/(\w+)", stranger.get(_REPORTS).text)


def test_a_report_that_is_deleted_is_gone(browsers: Any, member: Browser) -> None:
    path = _made(browsers, member)
    deleted = path.replace("/file", "/delete")
    assert browsers.register().post(deleted, _REPORTS).status == 404
    assert member.post(deleted, _REPORTS).status == 303
    assert member.get(path).status == 404
    assert "No reports yet" in member.get(_REPORTS).text


def test_only_a_merchant_shares(browsers: Any, member: Browser) -> None:
    path = _made(browsers, member)
    assert member.post(path.replace("/file", "/share"), _REPORTS).status == 404
    assert "Share" not in member.get(_REPORTS).text


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"first_day": ""}, "First day is required"),
        ({"first_day": "2020-01-01"}, "First day|at most 400"),
        ({"format": "XLS"}, "Format is required"),
        ({"format": "PDF", "detail": "CALLS"}, "Rows|Detail|PDF"),
    ],
)
def test_what_cannot_be_made_is_said_beside_the_form(
    member: Browser, fields: dict[str, str], refusal: str
) -> None:
    answer = member.post(_REPORTS, f"{_REPORTS}/new", **{**_REPORT, **fields})
    assert answer.status == 400
    assert re.search(refusal, answer.text)
    assert 'value="2026-11-20"' in answer.text  # nothing typed is lost


def test_an_alert_watches_until_it_is_deleted(browsers: Any, member: Browser) -> None:
    made = member.post(_ALERTS, f"{_ALERTS}/new", **_RULE)
    assert (made.status, made.location) == (303, _ALERTS), made.text
    page = member.get(_ALERTS).text
    assert "Much" in page
    assert "100, 500" in re.sub(r"\s+", " ", page)
    delete = re.search(rf'action="({_ALERTS}/[^"/]+/delete)"', page)
    assert delete
    assert browsers.register().post(delete[1], _ALERTS).status == 404
    assert member.post(delete[1], _ALERTS).status == 303
    assert "No alerts yet" in member.get(_ALERTS).text


def test_a_webhooks_secret_is_shown_once(member: Browser) -> None:
    hook = "https://hooks.example.com/ams"
    key = {"idempotency_key": uuid7().hex}
    fields = {**_RULE, **key, "webhook_url": hook}
    shown = member.post(_ALERTS, f"{_ALERTS}/new", **fields)
    assert (shown.status, "whsec_" in shown.text) == (200, True), shown.text
    again = member.post(_ALERTS, f"{_ALERTS}/new", **fields)
    assert (again.status, again.location) == (303, _ALERTS)
    page = member.get(_ALERTS).text
    assert "whsec_" not in page
    assert page.count('/delete"') == 1


def test_an_error_rate_is_typed_in_percent(member: Browser) -> None:
    rule = {**_RULE, "metric": "ERROR_RATE", "thresholds": "5 12.5", "min_requests": "100"}
    assert member.post(_ALERTS, f"{_ALERTS}/new", **rule).status == 303
    assert "5%, 12.5%" in re.sub(r"\s+", " ", member.get(_ALERTS).text)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"name": ""}, "Name is required"),
        ({"thresholds": "many"}, "Thresholds must be one to ten numbers"),
        ({"thresholds": " ".join("1" * 11)}, "Thresholds must be one to ten numbers"),
        ({"metric": "ERROR_RATE"}, "Fewest requests must be a whole number"),
        ({"webhook_url": "http://127.0.0.1/"}, "Webhook"),
    ],
)
def test_a_rule_that_cannot_be_is_said_beside_the_form(
    member: Browser, fields: dict[str, str], refusal: str
) -> None:
    answer = member.post(_ALERTS, f"{_ALERTS}/new", **{**_RULE, **fields})
    assert answer.status == 400
    assert refusal in answer.text
    assert 'value="Much"' in answer.text or "name" in fields


def test_alerts_are_read_up_to_when_the_page_was_drawn(member: Browser) -> None:
    read = f"{_ALERTS}/read"
    assert member.post(read, _ALERTS, until="2026-11-20T10:00:00+00:00").status == 303
    assert member.post(read, _ALERTS, until="yesterday").status == 400


def test_pages_are_for_the_role_of_their_area(browsers: Any, member: Browser) -> None:
    admin = browsers.sign_in(ADMIN_EMAIL)
    for what in ("reports", "reports/new", "alerts", "alerts/new"):
        assert admin.get(f"/admin/{what}").status == 200, what
        assert member.get(f"/dashboard/{what}").status == 200, what
        for reader, area in ((admin, "dashboard"), (member, "admin"), (member, "merchant")):
            assert reader.get(f"/{area}/{what}").status == 403, (area, what)
