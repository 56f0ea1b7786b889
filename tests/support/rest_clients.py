"""What people and scripts do, by what is open to everybody only: REST under /api/v1 and the gateway."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from ams_common.testing.eventually import eventually

JSON = dict[str, Any]

# An access token lasts ten minutes: one this old leaves a test enough of them.
_KEPT_S = 240

_INVITE = re.compile(r"\b([0-9A-Z]{4}(?:-[0-9A-Z]{4}){4})\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and the JSON body (None when it isn't JSON)."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str


class Rest:
    """The REST API, as one caller uses it."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self.http = http
        self.url = url
        self.token = token

    def as_(self, token: str) -> "Rest":
        """The same API with another access token."""
        return Rest(self.http, self.url, token)

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """One request to /api/v1 + path, whatever comes of it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.url}/api/v1{path}"
        async with self.http.request(method, url, json=body, headers=headers, **options) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            return Answer(
                response.status,
                response.headers,
                await response.json(content_type=None) if is_json else None,
                text,
            )

    async def get(self, path: str, **params: str) -> JSON:
        """A GET that must succeed."""
        return _good(await self.ask("GET", path, params=params))

    async def post(self, path: str, **body: Any) -> JSON:
        """A POST that must succeed."""
        return _good(await self.ask("POST", path, body))

    async def patch(self, path: str, **body: Any) -> JSON:
        """A PATCH that must succeed."""
        return _good(await self.ask("PATCH", path, body))


def _good(answer: Answer) -> JSON:
    assert answer.status == 200, f"{answer.status}: {answer.text}"
    assert isinstance(answer.body, dict)
    return answer.body


class Mailbox:
    """The mail catcher, read as a person would."""

    def __init__(self, http: aiohttp.ClientSession, url: str, seen: set[int]) -> None:
        """`seen`: the numbers of the mails read before; grows."""
        self._http = http
        self._url = url
        self._seen = seen

    async def next_text(self, address: str) -> str:
        """The next mail to the address that wasn't read before; waits for it."""

        async def unread() -> JSON:
            async with self._http.get(f"{self._url}/messages", params={"to": address}) as response:
                messages = (await response.json())["messages"]
            return next((mail for mail in reversed(messages) if mail["id"] not in self._seen), {})

        mail = await eventually(unread)
        self._seen.add(mail["id"])
        text: str = mail["text"]
        return text

    async def next_code(self, address: str) -> str:
        """The one-time code in the next mail: a line of six digits."""
        found = re.search(r"^\s*(\d{6})\s*$", await self.next_text(address), re.MULTILINE)
        assert found, "no line of six digits in the mail"
        return found.group(1)


class People:
    """Signing up and in, with the codes from the mail."""

    def __init__(self, rest: Rest, mail: Mailbox, kept: dict[str, tuple[str, float]] | None = None) -> None:
        """`kept`: access tokens by address, and when they were given; grows."""
        self.rest = rest
        self.mail = mail
        self._kept = {} if kept is None else kept

    async def _prove(self, email: str, challenge: JSON) -> Rest:
        code = await self.mail.next_code(email)
        session = await self.rest.post(f"/auth/challenges/{challenge['challengeId']}:verify", code=code)
        return self.rest.as_(session["accessToken"])

    async def sign_in(self, email: str) -> Rest:
        """An existing account."""
        return await self._prove(email, await self.rest.post("/auth/sign-in", email=email))

    async def signed_in(self, email: str) -> Rest:
        """An existing account whose sign-in isn't what the test is about: perhaps one of minutes ago."""
        token, given_s = self._kept.get(email, ("", -_KEPT_S))
        if time.monotonic() - given_s >= _KEPT_S:
            token, given_s = (await self.sign_in(email)).token, time.monotonic()
            self._kept[email] = token, given_s
        return self.rest.as_(token)

    async def register_consumer(self, email: str, name: str = "Ann") -> Rest:
        """A new consumer."""
        return await self._prove(
            email, await self.rest.post("/auth/register/consumer", email=email, name=name)
        )

    async def register_merchant(self, admin: Rest, email: str, company_name: str, name: str = "Max") -> Rest:
        """A new merchant, invited by the admin."""
        await admin.post("/invites", email=email)
        invite = _INVITE.search(await self.mail.next_text(email))
        assert invite, "no invite code in the mail"
        challenge = await self.rest.post(
            "/auth/register/merchant",
            inviteCode=invite.group(1),
            email=email,
            name=name,
            companyName=company_name,
        )
        return await self._prove(email, challenge)


def new_service(base_url: str, **changes: Any) -> JSON:
    """The body of a good POST /services."""
    return {
        "name": "Geo",
        "description": "Where is it?",
        "type": "API",
        "baseUrl": base_url,
        "documentationUrl": "https://docs.example/geo",
        "version": "1.0.0",
        "tags": ["maps"],
        "price": {"perRequest": {"amount": {"currencyCode": "EUR", "nanos": 5_000_000}}},
        "rateLimitPerMinute": 0,
    } | changes


async def _ask_for_access(consumer: Rest, service_id: str) -> JSON:
    """Waits while the news of the merchant's registration is still on its way to the catalogue."""

    async def asked() -> JSON:
        answer = await consumer.ask("POST", "/access-requests", {"serviceId": service_id})
        return {} if answer.status == 404 else _good(answer)

    return await eventually(asked)


@dataclass(frozen=True, slots=True)
class Trade:
    """A merchant's active service, and a consumer with a key for it."""

    admin: Rest
    merchant: Rest
    consumer: Rest
    service: JSON
    key: JSON
    secret: str


async def open_trade(people: People, admin_email: str, base_url: str, tag: str, **service: Any) -> Trade:
    """All up to the first call: invitation, service, approval, access, key."""
    admin = await people.signed_in(admin_email)
    merchant = await people.register_merchant(admin, f"merchant-{tag}@example.com", f"Maps {tag}")
    consumer = await people.register_consumer(f"consumer-{tag}@example.com")
    created = await merchant.post("/services", **new_service(base_url, **{"name": f"Geo {tag}", **service}))
    service_id = created["serviceId"]
    await merchant.post(f"/services/{service_id}:submit")
    approved = await admin.post(f"/services/{service_id}:approve")
    request = await _ask_for_access(consumer, service_id)
    await admin.post(f"/access-requests/{request['accessRequestId']}:approve")
    made = await consumer.post("/keys", name="laptop", serviceIds=[service_id], ttlDays=30)
    return Trade(admin, merchant, consumer, approved, made["key"], made["secret"])


async def consume(
    http: aiohttp.ClientSession, gateway_url: str, secret: str, service: str, **options: object
) -> Answer:
    """POST /api/consume, whatever comes of it."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    if service:
        headers["X-AMS-Service"] = service
    url = f"{gateway_url}/api/consume"
    async with http.post(url, headers=headers, json={"where": "here"}, **options) as response:  # type: ignore[arg-type]
        text = await response.text()
        body = await response.json(content_type=None)
        return Answer(response.status, response.headers, body, text)
