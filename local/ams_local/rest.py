"""The REST API as people and scripts use it: signed in with one-time codes from the mail catcher."""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from ams_common.testing.eventually import eventually

JSON = dict[str, Any]

_CODE = re.compile(r"^\s*(\d{6})\s*$", re.MULTILINE)
_ANYTHING = re.compile("")
_INVITE = re.compile(r"\b[0-9A-Z]{4}(?:-[0-9A-Z]{4}){4}\b")
# What a moment later may be answered otherwise: an event is still on its way, or a service is starting.
_PASSING = (404, 409, 429, 503)
# An access token lasts ten minutes: one this old leaves a test enough of them.
_KEPT_S = 240


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and the JSON body (None when it isn't JSON)."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str


class ProblemError(Exception):
    """The API answered with a problem; the text says which call and why."""

    def __init__(self, method: str, path: str, answer: Answer) -> None:
        super().__init__(f"{method} {path} answered {answer.status}: {answer.text[:500]}")


class Rest:
    """The REST API, as one caller uses it; as nobody in particular while `token` is ""."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self.http = http
        self.url = url
        self.token = token

    def as_(self, token: str) -> "Rest":
        """The same API with another access token."""
        return Rest(self.http, self.url, token)

    async def ask(
        self, method: str, path: str, body: Any = None, idempotency_key: str = "", **options: Any
    ) -> Answer:
        """One request to /api/v1 + path, whatever comes of it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        url = f"{self.url}/api/v1{path}"
        async with self.http.request(method, url, json=body, headers=headers, **options) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            parsed = await response.json(content_type=None) if is_json else None
            return Answer(response.status, response.headers, parsed, text)

    async def get(self, path: str, **params: str) -> JSON:
        """A GET that must succeed, else ProblemError."""
        return await self._must("GET", path, params=params)

    async def post(self, path: str, **body: Any) -> JSON:
        """A POST that must succeed, else ProblemError."""
        return await self._must("POST", path, body)

    async def patch(self, path: str, **body: Any) -> JSON:
        """A PATCH that must succeed, else ProblemError."""
        return await self._must("PATCH", path, body)

    async def post_eventually(self, path: str, **body: Any) -> JSON:
        """As `post`, but tries again for a while what another service has yet to hear of."""
        answer = Answer(0, {}, None, "")

        async def is_heard_of() -> bool:
            nonlocal answer
            answer = await self.ask("POST", path, body)
            return answer.status not in _PASSING

        with suppress(TimeoutError):
            await eventually(is_heard_of)
        return _good("POST", path, answer)

    async def list_all(self, path: str, member: str, **params: str) -> list[JSON]:
        """All items of a list, from all its pages."""
        page = await self.get(path, **params)
        items: list[JSON] = page.get(member, [])
        while page_token := page.get("nextPageToken"):
            page = await self.get(path, **params, pageToken=page_token)
            items += page.get(member, [])
        return items

    async def _must(self, method: str, path: str, body: Any = None, **options: Any) -> JSON:
        return _good(method, path, await self.ask(method, path, body, **options))


def _good(method: str, path: str, answer: Answer) -> JSON:
    if answer.status not in (200, 201):
        raise ProblemError(method, path, answer)
    assert isinstance(answer.body, dict)
    return answer.body


class Mailbox:
    """The mail catcher, read as a person would."""

    def __init__(self, http: aiohttp.ClientSession, url: str, read: set[int] | None = None) -> None:
        """`read`: the numbers of the mails read before; grows."""
        self._http = http
        self._url = url
        self._read = set() if read is None else read

    async def mark_all_read(self) -> None:
        """What has come so far is nothing to wait for: the codes in it were used, or are too old."""
        self._read |= {mail["id"] for mail in await self._messages()}

    async def next_text(self, address: str, holding: re.Pattern[str] = _ANYTHING) -> str:
        """The next mail to the address that wasn't read before and holds that; waits for it. Other mails may
        come meanwhile."""

        async def unread() -> JSON:
            messages = [mail for mail in await self._messages(to=address) if holding.search(mail["text"])]
            return next((mail for mail in reversed(messages) if mail["id"] not in self._read), {})

        mail = await eventually(unread)
        self._read.add(mail["id"])
        return str(mail["text"])

    async def next_code(self, address: str) -> str:
        """The one-time code in the next mail with one: a line of six digits."""
        return _find(_CODE, await self.next_text(address, _CODE))

    async def next_invite(self, address: str) -> str:
        """The invite code in the next mail with one."""
        return _find(_INVITE, await self.next_text(address, _INVITE))

    async def _messages(self, **query: str) -> list[JSON]:
        async with self._http.get(f"{self._url}/messages", params=query) as response:
            messages: list[JSON] = (await response.json())["messages"]
            return messages


def _find(code: re.Pattern[str], text: str) -> str:
    found = code.search(text)
    assert found, f"no code in the mail: {text}"
    return found[found.lastindex or 0]


class People:
    """Signing up and in, with the codes from the mail."""

    def __init__(self, rest: Rest, mail: Mailbox, kept: dict[str, tuple[str, float]] | None = None) -> None:
        """`kept`: access tokens by address, and when they were given; grows."""
        self.rest = rest
        self.mail = mail
        self._kept = {} if kept is None else kept

    async def sign_in(self, email: str) -> Rest:
        """Signs in to an account that exists."""
        return await self._prove("/auth/sign-in", email=email)

    async def signed_in(self, email: str) -> Rest:
        """An existing account whose sign-in isn't what matters: perhaps one of minutes ago."""
        token, given_s = self._kept.get(email, ("", -_KEPT_S))
        if time.monotonic() - given_s >= _KEPT_S:
            token, given_s = (await self.sign_in(email)).token, time.monotonic()
            self._kept[email] = token, given_s
        return self.rest.as_(token)

    async def register_consumer(self, email: str, name: str = "Ann") -> Rest:
        return await self._prove("/auth/register/consumer", email=email, name=name)

    async def register_merchant(self, admin: Rest, email: str, company_name: str, name: str = "Max") -> Rest:
        """A new merchant, invited by the admin."""
        await admin.post("/invites", email=email)
        invite = await self.mail.next_invite(email)
        return await self._prove(
            "/auth/register/merchant", inviteCode=invite, email=email, name=name, companyName=company_name
        )

    async def _prove(self, path: str, email: str, **fields: str) -> Rest:
        challenge = await self.rest.post_eventually(path, email=email, **fields)
        code = await self.mail.next_code(email)
        session = await self.rest.post(f"/auth/challenges/{challenge['challengeId']}:verify", code=code)
        return self.rest.as_(session["accessToken"])
