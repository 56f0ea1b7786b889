"""Overviews ask the services as often for a hundred of whatever they show as for one."""

import json
import secrets
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.plain_browser import Browser
from support.trade import new_service

ADMIN_EMAIL = "admin@ams.example"
# As many decisions as the admin's queue shows: more askers would stand nowhere.
_MOST_ASKERS = 25
_AT_ONCE = 4
# What an answer may be as long as another service hasn't heard of something.
_PASSING = (404, 409, 429, 503)
# Asked for by the first service that sees a token of a new key, and kept.
_KEY_SET = "/ams.identity.v1.IdentityService/GetJwks"
_BASE_URL = "https://api.example.com/v1"


@dataclass
class Market:
    """People with so many of everything that overviews show."""

    browsers: Any
    admin: str
    # Whose services are active, and whose wait for an admin.
    seller: str
    applicant: str
    consumer: str
    pages: dict[str, Browser]
    size: int = 0
    askers: list[str] = field(default_factory=list)

    def call(self, token: str, path: str, **body: Any) -> Any:
        """POST, again while what it is about is on its way."""
        services = self.browsers.all_services

        def answered() -> Any:
            answer = services.bff.ask("POST", f"/api/v1{path}", body, token)
            return answer if answer.status not in _PASSING else None

        answer = services.wait_until(answered)
        assert answer.status in (200, 201), (path, answer.text)
        return answer.json

    def grow(self, size: int) -> None:
        """Until there are `size` of each."""
        while len(self.askers) < min(size, _MOST_ASKERS):
            self.askers.append(_register(self.browsers, f"{secrets.token_hex(6)}@people.example"))
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            list(workers.map(self._add, range(self.size, size)))
        self.size = size

    def _add(self, number: int) -> None:
        offered = self._submit(self.seller, baseUrl=_BASE_URL)
        self.call(self.admin, f"/services/{offered}:approve")
        self._submit(self.applicant, **({"baseUrl": _BASE_URL} if number % 2 else {"type": "DOCKER"}))
        # Approved, and no key for it: a decision. Another asks and waits.
        asked = self.call(self.consumer, "/access-requests", serviceId=offered)
        self.call(self.admin, f"/access-requests/{asked['accessRequestId']}:approve")
        self.call(self.askers[number % len(self.askers)], "/access-requests", serviceId=offered)
        if number == 0:
            self._used = self._submit(self.seller, baseUrl=_BASE_URL)
            self.call(self.admin, f"/services/{self._used}:approve")
            granted = self.call(self.consumer, "/access-requests", serviceId=self._used)
            self.call(self.admin, f"/access-requests/{granted['accessRequestId']}:approve")
        self.call(self.consumer, "/keys", name=f"Key {number}", serviceIds=[self._used], ttlDays=3)

    def _submit(self, merchant: str, **fields: str) -> str:
        body = {**new_service(""), "name": f"Geo {secrets.token_hex(4)}", **fields}
        service_id = str(self.call(merchant, "/services", **body)["serviceId"])
        self.call(merchant, f"/services/{service_id}:submit")
        return service_id

    def calls_of(self, path: str) -> Counter[str]:
        """The RPCs that a page has caused, by method: each service logs the request's id."""
        page = self.pages[path].get(path)
        assert page.status == 200, page.text[:500]
        services = self.browsers.all_services
        services.bff.log_line(page.headers["x-request-id"])
        lines = (line for log in services.logs.values() for line in _lines(log.read_text()))
        return Counter(
            line["method"]
            for line in lines
            if line["message"] == "rpc"
            and line.get("request_id") == page.headers["x-request-id"]
            and line["method"] != _KEY_SET
        )


def _lines(text: str) -> Iterable[Any]:
    return (json.loads(line) for line in text.splitlines() if '"rpc"' in line)


def _register(browsers: Any, email: str) -> str:
    services = browsers.all_services
    challenge = services.bff.ask("POST", "/api/v1/auth/register/consumer", {"email": email, "name": "Ann"})
    return str(services.sign_in(challenge, email))


def _register_merchant(browsers: Any, admin: str, email: str) -> str:
    services = browsers.all_services
    assert services.bff.ask("POST", "/api/v1/invites", {"email": email}, admin).status == 201
    code = services.mailbox.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    body = {"inviteCode": code, "email": email, "name": "Max", "companyName": f"Maps {secrets.token_hex(4)}"}
    return str(services.sign_in(services.bff.ask("POST", "/api/v1/auth/register/merchant", body), email))


@pytest.fixture(scope="module")
def market(browsers: Any) -> Market:
    services = browsers.all_services
    consumer, seller, applicant = (f"{secrets.token_hex(6)}@people.example" for _ in range(3))
    asked = services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    admin = str(services.sign_in(asked, ADMIN_EMAIL))
    return Market(
        browsers,
        admin,
        seller=_register_merchant(browsers, admin, seller),
        applicant=_register_merchant(browsers, admin, applicant),
        consumer=_register(browsers, consumer),
        pages={
            "/dashboard": browsers.sign_in(consumer),
            "/merchant": browsers.sign_in(seller),
            "/admin": browsers.sign_in(ADMIN_EMAIL),
        },
    )


def test_an_overview_of_a_hundred_makes_the_calls_of_an_overview_of_one(market: Market) -> None:
    counted = []
    for size in (1, 10, 100):
        market.grow(size)
        counted.append({path: market.calls_of(path) for path in market.pages})
    of_one, of_ten, of_hundred = counted
    assert of_ten == of_one
    assert of_hundred == of_one
    assert all(5 <= calls.total() <= 20 for calls in of_one.values()), of_one
    assert "/ams.identity.v1.IdentityService/BatchGetConsumers" in of_one["/admin"]
    # It showed them: what they come to is on the page.
    assert market.pages["/dashboard"].get("/dashboard").text.count("No key can call") == 100
