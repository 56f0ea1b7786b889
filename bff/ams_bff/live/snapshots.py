"""Pages that go on: server-sent events with what a page shows, anew whenever that has changed
(HTML Living Standard, 9.2)."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ams.policy.v1.policy_pb2 import Role
from ams_common.errors import AppError, PermissionDeniedError, UnauthenticatedError
from google.protobuf.message import Message
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ams_bff.http.feeds import Follower
from ams_bff.http.routing import View
from ams_bff.http.session_roles import Roles
from ams_bff.http.visits import Visit

# Browsers come back after a stop, not all in the same second.
_LEAST_RETRY_MS = 2000
# A comment goes out when nothing else has for so many beats, that no proxy takes the stream for dead.
_QUIET_BEATS = 3
# A page isn't drawn more often; and once more so long after there was something new, for what is counted is
# rated a moment later.
_LEAST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """What changes by itself on a page, at one moment. Snapshots with the same etag show the same."""

    context: Mapping[str, Any]
    etag: str


Loader: TypeAlias = Callable[[Visit], Awaitable[LiveSnapshot]]


def etag_of(visit: Visit, *parts: Message | float | str | None) -> str:
    """Stands for everything that a snapshot is made of, and for the zone in which it shows times."""
    digest = hashlib.sha256(str(visit.zone).encode())
    for part in parts:
        body = (
            part.SerializeToString(deterministic=True) if isinstance(part, Message) else repr(part).encode()
        )
        digest.update(b"%d:" % len(body) + body)
    return digest.hexdigest()[:16]


def live_view(path: str, load: Loader, template: str, role: Role.ValueType) -> View:
    """The stream of the page at `path`. The page has the etag of what it shows in the stream's address,
    and so isn't sent what it has. `template` is the fragment: elements with the ids of those on the page."""

    async def stream(visit: Visit) -> Response:
        return LiveStream(visit, load, template, role)

    return View("GET", f"{path}/live/{{etag}}", stream, role)


class LiveStream(Response):
    """Ends when the browser has gone, the process stops or the person may see the page no more. Raises
    AppError, before it has begun, for what can't be loaded and when there are too many."""

    media_type = "text/event-stream"

    def __init__(self, visit: Visit, load: Loader, template: str, role: Role.ValueType) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self._visit = visit
        self._load = load
        self._template = template
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = self._visit
        with visit.event_streams.slot(visit.session.secret) as end:
            visit.follower = follower = Follower(visit.feeds)
            try:
                snapshot = await self._load(visit)
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                if scope["method"] != "HEAD":
                    leaving = asyncio.create_task(_set_when_gone(receive, end))
                    try:
                        await self._send_events(send, snapshot, end, follower)
                    finally:
                        leaving.cancel()
            finally:
                follower.close()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(
        self, send: Send, snapshot: LiveSnapshot, end: asyncio.Event, follower: Follower
    ) -> None:
        visit, beat_s = self._visit, self._visit.event_streams.beat_s
        shown = visit.request.headers.get("last-event-id") or visit.parameter("etag")
        quiet_beats, has_news, validated_s = 0, False, time.monotonic()
        await _write(send, f"retry: {_LEAST_RETRY_MS + secrets.randbelow(_LEAST_RETRY_MS)}\n\n")
        while True:
            if snapshot.etag != shown:
                text = visit.fragment(self._template, **snapshot.context)
                data = "".join(f"data: {line}\n" for line in text.splitlines() if line)
                await _write(send, f"event: figures\nid: {snapshot.etag}\n{data}\n")
                shown, quiet_beats = snapshot.etag, 0
            elif quiet_beats >= _QUIET_BEATS:
                await _write(send, ":\n\n")
                quiet_beats = 0
            # Only pauses end early. Cancelling a call could lose a token that is just being renewed, and
            # the session with it.
            least_s = min(_LEAST_PAUSE_S, beat_s)
            await _pause(least_s, end)
            if not has_news:
                await _pause(beat_s - least_s, end, follower.news)
            if end.is_set():
                return
            quiet_beats, has_news = quiet_beats + 1, follower.news.is_set()
            follower.begin()
            try:
                if time.monotonic() - validated_s >= beat_s:
                    validated_s = await _revalidate_session(visit, self._role)
                snapshot = await self._load(visit)
                follower.settle()
            except (UnauthenticatedError, PermissionDeniedError):
                await _write(send, "event: end\ndata:\n\n")
                return
            except AppError:
                continue  # what is shown stays until a service that is down can be asked again


async def _pause(length_s: float, *until: asyncio.Event) -> None:
    """Ends early with the first of the events."""
    waiting = [asyncio.create_task(event.wait()) for event in until]
    try:
        await asyncio.wait(waiting, timeout=length_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _revalidate_session(visit: Visit, role: Role.ValueType) -> float:
    """What was so when the stream began is so still: asks Redis, and identity-svc unless another live page of
    the session has done so within the beat. Returns when identity-svc was asked, by the monotonic clock.

    Raises UnauthenticatedError when the session has ended, PermissionDeniedError when the person is blocked
    or suspended in the role.
    """
    await visit.session.reload()
    if visit.session.person is None:
        raise UnauthenticatedError("session_ended", "Your session has ended. Sign in again.")

    async def ask() -> Roles:
        return (await visit.api.identity.GetMe()).roles

    roles, asked_at_s = await visit.event_streams.session_roles.current(visit.session.secret, ask)
    if role not in roles:
        raise PermissionDeniedError("role_required", "Your account doesn't have the role for this page.")
    return asked_at_s


async def _set_when_gone(receive: Receive, end: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    end.set()


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
