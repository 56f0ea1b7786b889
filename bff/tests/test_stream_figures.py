"""Live pages: an event when what is shown has changed, silence otherwise, and an end."""

import asyncio
import http.client
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from ams.policy.v1.policy_pb2 import Role
from ams_bff.http.event_streams import MOST, MOST_OF_ONE_SESSION, EventStreams
from ams_bff.http.session_roles import SessionRoles
from ams_common.errors import UnauthenticatedError, UnavailableError
from ams_common.ports import free_port
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"


@dataclass
class Stream:
    """An answer that goes on."""

    response: http.client.HTTPResponse

    def block(self) -> dict[str, str]:
        """The next event, comment or setting; {} at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            if line == "\n":
                return fields
            name, _, value = line.removesuffix("\n").partition(":")
            fields[name] = fields.get(name, "") + value.removeprefix(" ")
        return fields

    def until(self, event: str) -> dict[str, str]:
        """The next event of the name; everything before it is silence."""
        while (block := self.block()).get("event") != event:
            assert set(block) in ({"retry"}, {""}), block
        return block


@contextmanager
def opened(port: int, path: str, cookies: dict[str, str], **headers: str) -> Iterator[Stream]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    sent = {"Accept": "text/event-stream", "Cookie": cookie}
    try:
        connection.request("GET", path, headers=sent | headers)
        yield Stream(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def settings(all_services: Any, redis_url: str) -> dict[str, str]:
    """Of a BFF in front of all services that loads anew at once."""
    addresses = {f"{service.upper()}_ADDRESS": address for service, address in all_services.addresses.items()}
    return addresses | {"REDIS_URL": redis_url, "BFF_LIVE_BEAT_S": "0.1"}


@pytest.fixture(scope="module")
def port(start_bff: Any, settings: dict[str, str]) -> int:
    return int(start_bff(**settings).port)


def address_in(browser: Browser, port: int, path: str) -> str:
    """Where the stream of a page is, as the page says."""
    page = Browser(port, browser.cookies).get(path)
    found = re.findall(r'data-live="([^"]+)"', page.text)
    assert len(found) == 1, f"{path} has {len(found)} streams"
    return str(found[0]).replace("&amp;", "&")


def test_nothing_new_is_silence(browsers: Any, port: int) -> None:
    admin = browsers.sign_in(ADMIN_EMAIL)
    with opened(port, address_in(admin, port, "/admin/usage"), admin.cookies) as stream:
        headers = stream.response.headers
        assert (stream.response.status, headers.get_content_type()) == (200, "text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert headers["set-cookie"] is None
        assert 2000 <= int(stream.block()["retry"]) < 4000
        for _ in range(3):
            assert set(stream.block()) == {""}  # a comment


def test_who_has_something_else_is_told_and_who_comes_back_is_not(browsers: Any, port: int) -> None:
    member = browsers.register()
    path = "/dashboard/usage/live/old?range=90d"
    with opened(port, path, member.cookies) as stream:
        told = stream.until("figures")
    assert 'id="usage-totals"' in told["data"]
    assert 'id="usage-chart"' in told["data"]
    assert "<html" not in told["data"]
    with opened(port, path, member.cookies, **{"Last-Event-ID": told["id"]}) as stream:
        assert "retry" in stream.block()
        assert set(stream.block()) == {""}
    assert f"/live/{told['id']}?" in address_in(member, port, "/dashboard/usage?range=90d")


def test_the_zone_that_a_browser_tells_is_news(browsers: Any, port: int) -> None:
    member = browsers.register()
    address = address_in(member, port, "/dashboard/usage")
    with opened(port, address, {**member.cookies, "ams_zone": "Asia%2FKathmandu"}) as stream:
        assert re.search(r"\d\d:45</time>", stream.until("figures")["data"])


def test_signing_out_ends_the_stream(browsers: Any, port: int) -> None:
    member = browsers.register()
    with opened(port, address_in(member, port, "/dashboard/usage?range=90d"), member.cookies) as stream:
        assert "retry" in stream.block()
        assert member.post("/logout", "/marketplace").status == 303
        stream.until("end")
        assert stream.block() == {}


def test_blocking_a_consumer_ends_their_streams(browsers: Any, all_services: Any, port: int) -> None:
    bff, email = all_services.bff, f"{secrets.token_hex(6)}@people.example"
    member = browsers.browser()
    assert member.post("/register", "/register", email=email, name="Zoë").status == 303
    assert browsers.type_code(member, email).status == 303

    def sign_in(whose: str) -> str:
        return str(all_services.sign_in(bff.ask("POST", "/api/v1/auth/sign-in", {"email": whose}), whose))

    user_id = bff.ask("GET", "/api/v1/me", token=sign_in(email)).json["userId"]
    with opened(port, address_in(member, port, "/dashboard/usage?range=90d"), member.cookies) as stream:
        assert "retry" in stream.block()
        blocked = bff.ask("POST", f"/api/v1/consumers/{user_id}:block", {}, sign_in(ADMIN_EMAIL))
        assert blocked.status == 200, blocked.text
        stream.until("end")
        assert stream.block() == {}


@pytest.mark.parametrize(
    "path",
    ["/dashboard", "/dashboard/usage", "/merchant", "/merchant/usage", "/admin", "/admin/usage"],
)
def test_a_stream_is_for_whom_the_page_is(path: str, browsers: Any, port: int) -> None:
    member, live = browsers.register(), f"{path}/live/x"
    is_theirs = path.startswith("/dashboard")
    with opened(port, live, member.cookies) as stream:
        assert stream.response.status == (200 if is_theirs else 403)
    with opened(port, live, {}) as stream:
        assert stream.response.status == 401
        assert stream.response.headers.get_content_type() == "application/problem+json"


def test_what_cannot_be_looked_at_is_refused_before_the_stream(
    browsers: Any, port: int, start_bff: Any, settings: dict[str, str]
) -> None:
    member, live = browsers.register(), "/dashboard/usage/live/x"
    with opened(port, f"{live}?service=nonsense", member.cookies) as stream:
        assert stream.response.status == 400
    without = start_bff(**settings | {"USAGE_ADDRESS": "127.0.0.1:1"})
    with opened(without.port, live, member.cookies) as stream:
        assert stream.response.status == 503
    head = Browser(port, member.cookies).send("HEAD", live)
    assert (head.status, head.text) == (200, "")


def test_a_session_has_so_many_streams_and_a_closed_one_makes_room(
    browsers: Any, all_services: Any, port: int
) -> None:
    member, live = browsers.register(), "/dashboard/usage/live/x"

    def status() -> int:
        with opened(port, live, member.cookies) as stream:
            assert stream.response.status == 200 or stream.response.headers["retry-after"]
            return stream.response.status

    with ExitStack() as stack:
        streams = [
            stack.enter_context(opened(port, live, member.cookies)) for _ in range(MOST_OF_ONE_SESSION)
        ]
        assert {stream.response.status for stream in streams} == {200}
        assert status() == 429
        with opened(port, live, browsers.register().cookies) as others:
            assert others.response.status == 200
    all_services.wait_until(lambda: status() == 200)


def test_a_process_has_so_many_streams_and_none_once_it_stops() -> None:
    streams = EventStreams(1.0)
    with ExitStack() as stack:
        ends = [stack.enter_context(streams.slot(f"session {number}")) for number in range(MOST)]
        with pytest.raises(UnavailableError):
            stack.enter_context(streams.slot("one more"))
        assert not any(end.is_set() for end in ends)
    streams.stop()
    with pytest.raises(UnavailableError), streams.slot("late"):
        pass


def test_who_looks_at_the_same_shares_one_stream_of_usage_svc(browsers: Any, port: int) -> None:
    """usage-svc gives one reader twenty: each page would need one of its own."""
    live = "/admin/usage/live/x?range=90d"
    admins = [browsers.sign_in(ADMIN_EMAIL) for _ in range(6)]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(opened(port, live, admin.cookies))
            for admin in admins
            for _ in range(MOST_OF_ONE_SESSION)
        ]
        assert len(streams) > 20
        assert {stream.response.status for stream in streams} == {200}
        assert all(stream.until("figures")["id"] for stream in streams)


def test_services_make_as_many_statements_for_twenty_pages_as_for_those_of_five_sessions(
    browsers: Any, all_services: Any, port: int
) -> None:
    """What all look at is asked once, and of a session's four pages one asks whether it is good still."""
    statements = StatementCount(all_services.database_url, all_services.roles)
    live = "/admin/usage/live/x?range=90d"
    admins = [browsers.sign_in(ADMIN_EMAIL) for _ in range(5)]
    rates: dict[int, dict[str, float]] = {}
    with ExitStack() as stack:
        streams: list[Stream] = []
        for pages in (1, 5, 20):
            while len(streams) < pages:
                admin = admins[len(streams) % len(admins)]
                streams.append(stack.enter_context(opened(port, live, admin.cookies)))
                assert streams[-1].until("figures")
            rates[pages] = statements.a_second(during=lambda: [streams[0].block() for _ in range(10)])
    assert rates[20]["usage"] < 1.5 * rates[1]["usage"] + 2, rates
    assert rates[20]["identity"] < 1.5 * rates[5]["identity"], rates


@dataclass(frozen=True, slots=True)
class StatementCount:
    """What PostgreSQL says that services have asked it."""

    database_url: str
    roles: Mapping[str, str]

    def a_second(self, during: Callable[[], object]) -> dict[str, float]:
        """Statements by service, in the time that something takes."""
        before, started_s = self._now(), time.monotonic()
        during()
        took_s, after = time.monotonic() - started_s, self._now()
        return {service: (after[service] - before[service]) / took_s for service in self.roles}

    def _now(self) -> dict[str, int]:
        return asyncio.run(self._count())

    async def _count(self) -> dict[str, int]:
        connection = await asyncpg.connect(self.database_url)
        try:
            if "pg_stat_statements" not in await connection.fetchval("SHOW shared_preload_libraries"):
                pytest.skip("this PostgreSQL doesn't count statements: pg_stat_statements isn't preloaded")
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            rows = await connection.fetch(
                "SELECT rolname, sum(calls)::bigint AS calls"
                " FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid GROUP BY rolname"
            )
        finally:
            await connection.close()
        calls = {row["rolname"]: row["calls"] for row in rows}
        return {service: calls.get(role, 0) for service, role in self.roles.items()}


async def test_the_pages_of_a_session_ask_once_a_beat_for_its_roles() -> None:
    """And each for itself where there is one of each session; who is refused isn't let in by another."""
    clock_s = 0.0
    roles, asked = SessionRoles(5.0, clock_s=lambda: clock_s), 0

    async def ask() -> list[Role.ValueType]:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise UnauthenticatedError("session_ended", "This session has ended.")
        return [Role.CONSUMER]

    pages = await asyncio.gather(*(roles.current("mine", ask) for _ in range(4)))
    assert (asked, pages) == (1, [([Role.CONSUMER], 0.0)] * 4)
    clock_s = 4.9
    assert await roles.current("mine", ask) == ([Role.CONSUMER], 0.0)
    assert await roles.current("theirs", ask) == ([Role.CONSUMER], 4.9)
    assert asked == 2
    clock_s = 5.0
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await roles.current("mine", ask)
    assert asked == 3


def test_stopping_waits_for_no_stream(
    browsers: Any, all_services: Any, settings: dict[str, str], tmp_path: Path
) -> None:
    """Within much less than the 20 s that requests under way get."""
    member, own_port = browsers.register(), free_port()
    environment = {**os.environ, **settings, "BFF_LISTEN": f"127.0.0.1:{own_port}", "BFF_LIVE_BEAT_S": "60"}
    log = tmp_path / "bff.log"
    with log.open("wb") as output:
        running = subprocess.Popen([Path(sys.executable).parent / "ams-bff"], env=environment, stderr=output)
    try:
        all_services.wait_until(lambda: '"serving"' in log.read_text())
        all_services.wait_until(lambda: _answers(own_port))
        with opened(own_port, "/dashboard/usage/live/x", member.cookies) as stream:
            assert stream.until("figures")
            running.send_signal(signal.SIGTERM)
            assert stream.block() == {}
            assert running.wait(10) == 0, log.read_text()
    finally:
        running.kill()
        running.wait()


def _answers(port: int) -> bool:
    try:
        return Browser(port).get("/healthz").status == 200
    except OSError:
        return False
