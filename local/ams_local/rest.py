"""The REST API as a script uses it: signed in with a one-time code from the mail catcher."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ams_local.web import Answer, call

MAIL_TIMEOUT_S = 20
_CODE = re.compile(r"^\s*(\d{6})\s*$", re.MULTILINE)
_INVITE = re.compile(r"\b[0-9A-Z]{4}(?:-[0-9A-Z]{4}){4}\b")
# What a moment later may be answered otherwise: an event is still on its way, or a service is starting.
_PASSING = (404, 409, 429, 503)

T = TypeVar("T")


class ProblemError(Exception):
    """The API answered with a problem; its text says which call and why."""

    def __init__(self, method: str, path: str, answer: Answer) -> None:
        super().__init__(f"{method} {path} answered {answer.status}: {answer.text[:500]}")
        self.status = answer.status


class Mails:
    """The mail catcher, read as a script does."""

    def __init__(self, url: str) -> None:
        self._url = url

    def last_number(self) -> int:
        """The newest message's number, 0 when there is none."""
        return max((mail["id"] for mail in self._messages({})), default=0)

    def wait_for(self, address: str, pattern: re.Pattern[str], after: int) -> str:
        """The first match in a message to the address that is newer than number `after`."""

        def find() -> str | None:
            mails = (mail for mail in self._messages({"to": address}) if mail["id"] > after)
            matches = (pattern.search(mail["text"]) for mail in mails)
            return next((match[match.lastindex or 0] for match in matches if match), None)

        found = until(find, MAIL_TIMEOUT_S)
        if found is None:
            raise TimeoutError(f"No mail to {address} within {MAIL_TIMEOUT_S} s.")
        return found

    def _messages(self, query: dict[str, str]) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = call("GET", f"{self._url}/messages", query=query).json()["messages"]
        return messages


class Api:
    """`/api/v1` for one person, or for nobody in particular while `token` is ""."""

    def __init__(self, url: str, mails: Mails, token: str = "") -> None:
        self._url = url
        self._mails = mails
        self._token = token

    @property
    def token(self) -> str:
        """The access token, as other clients may send it."""
        return self._token

    def get(self, path: str, **query: str) -> Any:
        return self._call("GET", path, query=query)

    def post(self, path: str, **body: object) -> Any:
        """Raises ProblemError on anything but success."""
        return self._call("POST", path, body=body)

    def post_eventually(self, path: str, **body: object) -> Any:
        """As `post`, but tries again for a while what another service has yet to hear of."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.post(path, **body)
            except ProblemError as refused:
                if refused.status not in _PASSING or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def list_all(self, path: str, member: str, **query: str) -> Iterator[Any]:
        """All items of a list, page by page."""
        page_token = ""
        while True:
            page = self.get(path, **query, **({"pageToken": page_token} if page_token else {}))
            yield from page.get(member, [])
            page_token = page.get("nextPageToken", "")
            if not page_token:
                return

    def sign_in(self, email: str) -> "Api":
        """The API for the account of that address."""
        return self._prove("/auth/sign-in", {"email": email})

    def register_consumer(self, email: str, name: str) -> "Api":
        return self._prove("/auth/register/consumer", {"email": email, "name": name})

    def invite_merchant(self, email: str, name: str, company_name: str) -> "Api":
        """As an admin: invites, and then registers with the code that was mailed."""
        seen = self._mails.last_number()
        self.post("/invites", email=email)
        code = self._mails.wait_for(email, _INVITE, seen)
        details = {"inviteCode": code, "email": email, "name": name, "companyName": company_name}
        return self._prove("/auth/register/merchant", details)

    def _prove(self, path: str, body: dict[str, str]) -> "Api":
        anybody = Api(self._url, self._mails)
        seen = self._mails.last_number()
        challenge = anybody.post_eventually(path, **body)["challengeId"]
        code = self._mails.wait_for(body["email"], _CODE, seen)
        session = anybody.post(f"/auth/challenges/{challenge}:verify", code=code)
        return Api(self._url, self._mails, session["accessToken"])

    def _call(self, method: str, path: str, **parts: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        answer = call(method, f"{self._url}/api/v1{path}", headers=headers, **parts)
        if answer.status >= 300:
            raise ProblemError(method, path, answer)
        return answer.json()


def until(check: Callable[[], T | None], timeout_s: float) -> T | None:
    """The first answer that isn't None, or None when time is up."""
    deadline = time.monotonic() + timeout_s
    while (found := check()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
