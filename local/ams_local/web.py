"""A small HTTP client for scripts: one request, one answer, whatever its status."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

TIMEOUT_S = 30
# What we call is on this machine: a proxy that the environment names must not stand between.
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.content)


def call(
    method: str,
    url: str,
    *,
    query: Mapping[str, str] | None = None,
    body: object = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """`body` goes as JSON, `content` as it is. Raises OSError when nobody answers."""
    sent = dict(headers or {})
    if body is not None:
        content = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    address = f"{url}?{urlencode(query)}" if query else url
    try:
        with _OPENER.open(Request(address, content, sent, method=method), timeout=TIMEOUT_S) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except HTTPError as denied:
        with denied:
            return Answer(denied.code, denied.headers, denied.read())
