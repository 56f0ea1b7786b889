"""A service that takes connections and never answers costs a page a moment, once; the rest is shown."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ams_common.errors import DeadlineExceededError
from ams_common.processes import GRPC_SERVERS
from ams_rest.areas import AREAS
from ams_rest.deadlines import SLOW, Deadlines, is_quick
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"
_DEADLINE_S = 1.5
# What a page may take besides waiting, on a machine that does much else; less than the ten seconds of before.
_BUSY_S = 4.0
_NOTICE = "Not everything can be shown right now"


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """The address of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def hanging(all_services: Any, redis_url: str, start_bff: Any, silent: str) -> Any:
    """`hanging(service)`: the port of a BFF for which that one hangs."""
    addresses = {f"{service.upper()}_ADDRESS": address for service, address in all_services.addresses.items()}
    settings = addresses | {"REDIS_URL": redis_url, "BFF_READ_DEADLINE_S": str(_DEADLINE_S)}
    return lambda service: start_bff(**settings | {f"{service.upper()}_ADDRESS": silent}).port


@pytest.mark.parametrize(
    ("service", "pages"),
    [
        ("usage", ("/dashboard", "/dashboard/services")),
        ("billing", ("/dashboard", "/dashboard/usage", "/dashboard/usage?group=key")),
        ("catalog", ("/dashboard", "/dashboard/usage", "/dashboard/api-keys")),
        ("registry", ("/dashboard", "/dashboard/api-keys")),
        ("keys", ("/dashboard/usage",)),
    ],
)
def test_a_page_shows_the_rest_after_a_moment(
    browsers: Any, hanging: Any, service: str, pages: tuple[str, ...]
) -> None:
    reader = browsers.register()
    browser = Browser(hanging(service), reader.cookies)
    for path in pages:
        started_s = time.monotonic()
        page = browser.get(path)
        took_s = time.monotonic() - started_s
        assert page.status == 200, (path, page.text[:300])
        assert took_s < _DEADLINE_S + _BUSY_S, path


def test_admins_see_the_rest_too(browsers: Any, hanging: Any) -> None:
    admin = browsers.sign_in(ADMIN_EMAIL)
    letters = "/admin/dead-letters"
    for service, paths in {"usage": ("/admin", letters), "billing": ("/admin", letters)}.items():
        browser = Browser(hanging(service), admin.cookies)
        for path in paths:
            started_s = time.monotonic()
            page = browser.get(path)
            assert page.status == 200, path
            assert time.monotonic() - started_s < _DEADLINE_S + _BUSY_S, path
            assert (_NOTICE in page.text) == ((service, path) != ("billing", "/admin")), (service, path)


def test_what_a_page_is_about_cannot_be_done_without(browsers: Any, hanging: Any) -> None:
    browser = Browser(hanging("usage"), browsers.register().cookies)
    for path in ("/dashboard/usage", "/dashboard/usage/2026-11-01"):
        started_s = time.monotonic()
        page = browser.get(path)
        assert page.status in (503, 504)
        assert "A part of AMS is not reachable" in page.text
        assert time.monotonic() - started_s < _DEADLINE_S + _BUSY_S


def test_a_service_that_hangs_is_left_alone_for_a_moment() -> None:
    now_s = 100.0
    hangs = Deadlines(1.0, 10.0, clock=lambda: now_s)
    hangs.check("usage")
    now_s = 101.0
    hangs.missed("usage", asked_at_s=100.0)
    with pytest.raises(DeadlineExceededError):
        hangs.check("usage")
    hangs.check("billing")
    now_s = 107.0
    hangs.check("usage")


def test_a_slow_question_is_no_service_that_hangs() -> None:
    now_s = 100.0
    hangs = Deadlines(1.0, 10.0, clock=lambda: now_s)
    now_s = 100.5
    hangs.answered("usage")
    now_s = 101.0
    hangs.missed("usage", asked_at_s=100.0)
    hangs.check("usage")


def test_an_answer_ends_the_wait_at_once() -> None:
    hangs = Deadlines(1.0, 10.0, clock=lambda: 100.0)
    hangs.missed("usage", asked_at_s=99.0)
    hangs.answered("usage")
    hangs.check("usage")


def test_only_what_is_read_is_given_up_early() -> None:
    assert all(map(is_quick, ("GetKey", "ListKeys", "BatchGetServiceNames", "PreviewPrice")))
    assert not any(map(is_quick, ("CreateKey", "MarkAlertsRead", "ReplayDeadLetter", "IssueInvoices")))


def test_what_works_out_a_lot_has_its_time() -> None:
    assert not any(map(is_quick, SLOW))
    assert {rpc.name for area in AREAS for rpc in area.service.methods} >= SLOW, "a name that nothing has"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/consumer/usage"),
        ("GET", "/api/v1/consumer/spend"),
        ("GET", "/api/v1/reconciliation"),
        ("POST", "/api/v1/reports"),
    ],
)
def test_rest_answers_in_time(start_bff: Any, silent: str, redis_url: str, method: str, path: str) -> None:
    """What isn't only read has the longer of the two times, and no longer one."""
    away = {server.variable("ADDRESS"): silent for server in GRPC_SERVERS.values()}
    times = {"BFF_READ_DEADLINE_S": "0.4", "BFF_LONG_DEADLINE_S": "1.2"}
    bff = start_bff(**away, **times, REDIS_URL=redis_url)
    is_read = method == "GET" and "reconciliation" not in path
    started_s = time.monotonic()
    answer = bff.ask(method, path, token="a-token", body={} if method == "POST" else None)
    took_s = time.monotonic() - started_s
    assert (answer.status, answer.code) == (504, "deadline_exceeded")
    assert (0.4 if is_read else 1.2) <= took_s < 1.2 + _BUSY_S


def test_rest_does_not_wait_twice(start_bff: Any, silent: str, redis_url: str) -> None:
    away = {server.variable("ADDRESS"): silent for server in GRPC_SERVERS.values()}
    bff = start_bff(**away, REDIS_URL=redis_url, BFF_READ_DEADLINE_S="2")
    assert bff.ask("GET", "/api/v1/consumer/usage", token="a-token").status == 504
    started_s = time.monotonic()
    answer = bff.ask("GET", "/api/v1/consumer/usage", token="a-token")
    assert (answer.status, answer.code) == (504, "deadline_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    assert time.monotonic() - started_s < 1.5
