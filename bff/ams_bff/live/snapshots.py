"""Pages that go on: server-sent events with what a page shows, anew whenever that has changed
(HTML Living Standard, 9.2)."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from ams.policy.v1.policy_pb2 import Role
from ams_common.errors import AppError, PermissionDeniedError, UnauthenticatedError
from google.protobuf.message import Message
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ams_bff.http.routing import View
from ams_bff.http.visits import Visit, current_visit

# Browsers come back after a stop, not all in the same second.
_LEAST_RETRY_MS = 2000
# A comment goes out when nothing else has for so many beats, that nobody between takes the stream for dead.
_QUIET_BEATS = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """What moves on a page, at one moment. Equal marks are equal pictures."""

    context: Mapping[str, Any]
    mark: str
    beats: int = 1  # until it is worth looking again


Look: TypeAlias = Callable[[Visit], Awaitable[Picture]]


def mark_of(visit: Visit, *parts: Message | float | str | None) -> str:
    """Stands for everything that a picture is made of, and for the zone in which it shows times."""
    digest = hashlib.sha256(str(visit.zone).encode())
    for part in parts:
        body = (
            part.SerializeToString(deterministic=True) if isinstance(part, Message) else repr(part).encode()
        )
        digest.update(b"%d:" % len(body) + body)
    return digest.hexdigest()[:16]


def live(path: str, look: Look, template: str, role: Role.ValueType) -> View:
    """The stream of the page at `path`. The page has the mark of what it shows in the stream's address,
    and so isn't told what it has. `template` is the fragment: elements with the ids of those on the page."""

    async def stream(visit: Visit) -> Response:
        return EventStream(visit, look, template, role)

    return View("GET", f"{path}/live/{{mark}}", stream, role)


class EventStream(Response):
    """Ends when the browser has gone, the process stops or the person may see the page no more. Raises
    AppError, before it has begun, for what can't be looked at and when there are too many."""

    media_type = "text/event-stream"

    def __init__(self, visit: Visit, look: Look, template: str, role: Role.ValueType) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self._visit = visit
        self._look = look
        self._template = template
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole stream."""
        visit = self._visit
        with visit.streams.place(visit.session.secret) as end, _served(visit):
            picture = await self._look(visit)
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            if scope["method"] != "HEAD":
                leaving = asyncio.create_task(_watch(receive, end))
                try:
                    await self._tell(send, picture, end)
                finally:
                    leaving.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send, picture: Picture, end: asyncio.Event) -> None:
        """Nothing under way is cancelled: a token that is being renewed would be lost, and the session
        with it."""
        seen = self._visit.request.headers.get("last-event-id") or self._visit.parameter("mark")
        quiet_beats = beats = 0
        await _write(send, f"retry: {_LEAST_RETRY_MS + secrets.randbelow(_LEAST_RETRY_MS)}\n\n")
        while True:
            if picture.mark != seen:
                await _write(send, self._event(picture))
                seen, quiet_beats = picture.mark, 0
            elif quiet_beats >= _QUIET_BEATS:
                await _write(send, ":\n\n")
                quiet_beats = 0
            if await _passes(end, self._visit.streams.beat_s):
                return
            quiet_beats, beats = quiet_beats + 1, beats + 1
            try:
                await self._visit.prove(self._role)
                if beats >= picture.beats:
                    picture, beats = await self._look(self._visit), 0
            except (UnauthenticatedError, PermissionDeniedError):
                await _write(send, "event: end\ndata:\n\n")
                return
            except AppError:
                continue  # what is shown stays until a service that is away can be asked again

    def _event(self, picture: Picture) -> str:
        text = self._visit.fragment(self._template, **picture.context)
        data = "".join(f"data: {line}\n" for line in text.splitlines() if line)
        return f"event: figures\nid: {picture.mark}\n{data}\n"


@contextmanager
def _served(visit: Visit) -> Iterator[None]:
    """For macros, which can't be handed the visit."""
    reset = current_visit.set(visit)
    try:
        yield
    finally:
        current_visit.reset(reset)


async def _watch(receive: Receive, end: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    end.set()


async def _passes(end: asyncio.Event, seconds: float) -> bool:
    """Whether `end` is set within the time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(end.wait(), seconds)
    return end.is_set()


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
