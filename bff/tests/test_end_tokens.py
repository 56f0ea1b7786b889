"""Signing out, ended sessions and changed standings: every service refuses at once, pages go on."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ams_rest.areas import AREAS
from ams_rest.routes import routes_of

ADMIN_EMAIL = "admin@ams.example"
# Far less than what an access token has left.
WITHIN_S = 2.0


def a_path_of_each_process() -> Mapping[str, str]:
    """Of each process a GET without variables: who calls is looked at before anything else."""
    paths: dict[str, str] = {}
    for route in routes_of(AREAS):
        if route.http_method == "GET" and not route.template.variables:
            paths.setdefault(route.area.process, f"/{'/'.join(route.template.segments)}")
    return paths


def soon(check: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not check():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class Person:
    """A consumer who calls by REST."""

    def __init__(self, all_services: Any) -> None:
        self.all_services = all_services
        self.email = f"{secrets.token_hex(6)}@people.example"
        self.session = self._proven("/api/v1/auth/register/consumer", {"email": self.email, "name": "Zoë"})

    def sign_in(self) -> Any:
        return self._proven("/api/v1/auth/sign-in", {"email": self.email})

    def _proven(self, path: str, body: Mapping[str, str]) -> Any:
        challenge = self.all_services.bff.ask("POST", path, body)
        code = self.all_services.mailbox.wait_for(self.email, r"^[0-9]{6}\r?$").strip()
        verify = f"/api/v1/auth/challenges/{challenge.json['challengeId']}:verify"
        return self.all_services.bff.ask("POST", verify, {"code": code}).json

    def codes(self, token: str) -> Mapping[str, str]:
        """With which code each process refuses the token, "" for one that lets it in."""
        answers = {
            process: self.all_services.bff.ask("GET", path, token=token)
            for process, path in a_path_of_each_process().items()
        }
        return {process: answer.code if answer.status == 401 else "" for process, answer in answers.items()}


@pytest.fixture
def person(all_services: Any) -> Person:
    return Person(all_services)


EVERY_PROCESS = ("identity", "catalog", "keys", "usage", "billing", "registry")


def test_each_process_is_asked() -> None:
    assert set(a_path_of_each_process()) == set(EVERY_PROCESS)


def test_every_service_refuses_a_session_that_was_signed_out(all_services: Any, person: Person) -> None:
    token = person.session["accessToken"]
    assert person.codes(token) == dict.fromkeys(EVERY_PROCESS, "")
    all_services.bff.ask("POST", "/api/v1/auth/sign-out", {"refreshToken": person.session["refreshToken"]})
    soon(lambda: person.codes(token) == dict.fromkeys(EVERY_PROCESS, "session_ended"))


def test_every_service_refuses_a_session_ended_elsewhere_and_no_other(
    all_services: Any, person: Person
) -> None:
    here, elsewhere = person.session["accessToken"], person.sign_in()["accessToken"]
    sessions = all_services.bff.ask("GET", "/api/v1/sessions", token=here).json["sessions"]
    [other] = [session for session in sessions if not session["isCurrent"]]
    ended = all_services.bff.ask("POST", f"/api/v1/sessions/{other['sessionId']}:end", {}, here)
    assert ended.status == 200, ended.text
    soon(lambda: person.codes(elsewhere) == dict.fromkeys(EVERY_PROCESS, "session_ended"))
    assert person.codes(here) == dict.fromkeys(EVERY_PROCESS, "")


def test_every_service_refuses_a_stolen_session(all_services: Any, person: Person) -> None:
    refresh = {"refreshToken": person.session["refreshToken"]}
    newest = all_services.bff.ask("POST", "/api/v1/auth/refresh", refresh).json["accessToken"]
    assert all_services.bff.ask("POST", "/api/v1/auth/refresh", refresh).status == 401
    tokens = (person.session["accessToken"], newest)
    ended = dict.fromkeys(EVERY_PROCESS, "session_ended")
    soon(lambda: [person.codes(token) for token in tokens] == [ended, ended])


def test_every_service_refuses_what_says_otherwise_than_the_standing(
    all_services: Any, person: Person
) -> None:
    signed_in = all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    admin = all_services.sign_in(signed_in, ADMIN_EMAIL)
    token, user_id = person.session["accessToken"], person.session["user"]["userId"]
    blocked = all_services.bff.ask("POST", f"/api/v1/consumers/{user_id}:block", {}, admin)
    assert blocked.status == 200, blocked.text
    soon(lambda: person.codes(token) == dict.fromkeys(EVERY_PROCESS, "token_ended"))
    refresh = {"refreshToken": person.session["refreshToken"]}
    fresh = all_services.bff.ask("POST", "/api/v1/auth/refresh", refresh).json
    assert fresh["user"]["roles"] == []
    assert person.codes(fresh["accessToken"]) == dict.fromkeys(EVERY_PROCESS, "")


def test_a_browser_ends_another_and_is_told_so_there(browsers: Any, all_services: Any) -> None:
    here = browsers.register()
    page = here.get("/settings/sessions")
    assert (page.status, page.text.count("This browser")) == (200, 1)
    email = here.get("/register").text.partition('name="email"')[2].partition('value="')[2].partition('"')[0]
    elsewhere = browsers.sign_in(email)
    assert here.get("/settings/sessions").text.count('/end"') == 1
    answer = here.post("/settings/sessions/end-others", "/settings/sessions")
    assert (answer.status, answer.location) == (303, "/settings/sessions")
    assert "1 other session has ended." in here.get("/settings/sessions").text

    def is_signed_out() -> bool:
        answer = elsewhere.get("/dashboard/api-keys")
        return bool(answer.status == 303 and answer.location.startswith("/login"))

    soon(is_signed_out)
    assert "Your session has ended" in elsewhere.get("/login").text
    assert here.get("/dashboard/api-keys").status == 200


def test_what_is_no_session_of_ones_own_is_said_so(browsers: Any) -> None:
    browser = browsers.register()
    for session_id, status in (("not-an-id", 400), ("018f0000-0000-7000-8000-000000000000", 303)):
        answer = browser.post(f"/settings/sessions/{session_id}/end", "/settings/sessions")
        assert answer.status == status


def test_settings_are_for_who_is_signed_in(browsers: Any) -> None:
    answer = browsers.browser().get("/settings/sessions")
    assert (answer.status, answer.location) == (303, "/login?next=/settings/sessions")
