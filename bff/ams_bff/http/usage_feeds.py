"""Usage as it changes: one stream from usage-svc for each question, however many live pages show it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.errors import (
    AppError,
    DeadlineExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

from ams_bff.http.api import UsageClient

_Watch: TypeAlias = Callable[..., AsyncGenerator[pb.UsageReport, None]]
_WATCH_OF: Final[Mapping[Role.ValueType, Callable[[UsageClient], _Watch]]] = {
    CONSUMER: lambda usage: usage.WatchConsumerUsage,
    MERCHANT: lambda usage: usage.WatchMerchantUsage,
    ADMIN: lambda usage: usage.WatchPlatformUsage,
}
_REOPEN_S: Final = 1.0
# Which role asks, for whom, and what: everybody with the same gets the same answer.
_Key: TypeAlias = tuple[Role.ValueType, str, bytes]


@dataclass(eq=False)
class _Feed:
    """The latest answer to a question, for as long as somebody follows it."""

    role: Role.ValueType
    fields: Mapping[str, Any]
    # By who follows, and is told when there is something new: what to ask with.
    followers: dict["UsageFollower", UsageClient] = field(default_factory=dict)
    report: pb.UsageReport | None = None
    error: AppError | None = None
    has_first: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until it is canceled. A stream ends with the token that it was opened with, at the latest."""
        while True:
            for client in list(self.followers.values()):
                try:
                    # Canceling a renewal could lose the session's new tokens.
                    await asyncio.shield(asyncio.ensure_future(client.access_token()))
                    async with aclosing(_WATCH_OF[self.role](client)(**self.fields)) as reports:
                        async for report in reports:
                            self._tell(report, None)
                except AppError as error:
                    self._fail(error)
            await asyncio.sleep(_REOPEN_S)

    def _fail(self, error: AppError) -> None:
        is_over = isinstance(error, UnauthenticatedError | PermissionDeniedError)
        # Its token may have run out, or its session have ended: the next one's may be good.
        if self.report is None or not is_over:
            self._tell(self.report, error)

    def _tell(self, report: pb.UsageReport | None, error: AppError | None) -> None:
        self.report, self.error = report, error
        self.has_first.set()
        for follower in self.followers:
            follower.news.set()


class UsageFeeds:
    """The questions that are followed in this process."""

    def __init__(self, first_deadline_s: float) -> None:
        """`first_deadline_s`: how long a page waits for the first answer."""
        self.first_deadline_s = first_deadline_s
        self._feeds: dict[_Key, tuple[_Feed, asyncio.Task[None]]] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def follow(
        self, key: _Key, fields: Mapping[str, Any], follower: "UsageFollower", client: UsageClient
    ) -> _Feed:
        """The feed of a question, which begins with its first follower."""
        if key not in self._feeds:
            feed = _Feed(key[0], fields, {follower: client})
            self._feeds[key] = feed, asyncio.create_task(feed.run())
        feed = self._feeds[key][0]
        feed.followers[follower] = client
        return feed

    def leave(self, key: _Key, follower: "UsageFollower") -> None:
        """Ends the feed with its last follower."""
        feed, task = self._feeds[key]
        feed.followers.pop(follower, None)
        if not feed.followers:
            del self._feeds[key]
            task.cancel()


class UsageFollower:
    """What one live page follows: whatever it asked when it was last drawn. `news` is set when there is
    something new."""

    def __init__(self, feeds: UsageFeeds) -> None:
        self._feeds = feeds
        self._followed: dict[_Key, _Feed] = {}
        self._asked: set[_Key] = set()
        self.news = asyncio.Event()

    async def latest(
        self, role: Role.ValueType, owner_id: str, client: UsageClient, fields: Mapping[str, Any]
    ) -> pb.UsageReport:
        """The latest answer to a request of these fields, at once when it is followed already. Raises
        AppError."""
        request = pb.GetUsageRequest(**fields).SerializeToString(deterministic=True)
        key = (role, "" if role == ADMIN else owner_id, request)
        self._asked.add(key)
        if key not in self._followed:
            self._followed[key] = self._feeds.follow(key, fields, self, client)
        feed = self._followed[key]
        try:
            await asyncio.wait_for(feed.has_first.wait(), self._feeds.first_deadline_s)
        except TimeoutError:
            raise DeadlineExceededError("deadline_exceeded", "usage-svc didn't answer in time.") from None
        if feed.error is not None:
            raise feed.error
        if feed.report is None:
            raise UnavailableError("service_unavailable", "There is no answer yet.")
        return feed.report

    def begin(self) -> None:
        """The page is drawn anew."""
        self.news.clear()
        self._asked = set()

    def settle(self) -> None:
        """Leaves what the page doesn't show any more: the last hour is another one after a minute."""
        for key in self._followed.keys() - self._asked:
            del self._followed[key]
            self._feeds.leave(key, self)

    def close(self) -> None:
        """Leaves everything."""
        self.begin()
        self.settle()
