"""Usage as it changes: one stream from usage-svc for each question, however many live pages show it."""

import asyncio
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import grpc
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.errors import (
    AppError,
    DeadlineExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
    from_rpc_error,
)

from ams_bff.http.api import AccessToken

_RPCS: Final[Mapping[Role.ValueType, str]] = {
    CONSUMER: "WatchConsumerUsage",
    MERCHANT: "WatchMerchantUsage",
    ADMIN: "WatchPlatformUsage",
}
_REOPEN_S: Final = 1.0
# Which role asks, for whom, and what: everybody with the same gets the same answer.
_Key: TypeAlias = tuple[Role.ValueType, str, bytes]


@dataclass(eq=False)
class _Feed:
    """The latest answer to a question, for as long as somebody follows it."""

    open: Callable[[str | None], AsyncIterable[pb.UsageReport]]
    # By who follows: what to ask with, and whom to wake when there is something new.
    followers: dict["UsageFollower", AccessToken] = field(default_factory=dict)
    report: pb.UsageReport | None = None
    error: AppError | None = None
    has_first: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until it is canceled. A stream ends with the token that it was opened with, at the latest."""
        while True:
            for access_token in list(self.followers.values()):
                try:
                    # Canceling a renewal could lose the session's new tokens.
                    token = await asyncio.shield(asyncio.ensure_future(access_token()))
                    async for report in self.open(token):
                        self._tell(report, None)
                except grpc.aio.AioRpcError as error:
                    self._fail(from_rpc_error(error))
                except AppError as error:
                    self._fail(error)
            await asyncio.sleep(_REOPEN_S)

    def _fail(self, error: AppError) -> None:
        is_over = isinstance(error, UnauthenticatedError | PermissionDeniedError)
        # Its own token may have run out, or its own session have ended: the next one's may be good.
        if self.report is None or not is_over:
            self._tell(self.report, error)

    def _tell(self, report: pb.UsageReport | None, error: AppError | None) -> None:
        self.report, self.error = report, error
        self.has_first.set()
        for follower in self.followers:
            follower.news.set()


class UsageFeeds:
    """The questions that are followed in this process. `usage_stub`: of UsageService."""

    def __init__(self, usage_stub: object, first_deadline_s: float) -> None:
        self._stub = usage_stub
        self.first_deadline_s = first_deadline_s
        self._feeds: dict[_Key, tuple[_Feed, asyncio.Task[None]]] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def follow(self, key: _Key, follower: "UsageFollower", access_token: AccessToken) -> _Feed:
        """The feed of a question, which begins with its first follower."""
        if key not in self._feeds:
            role, _, request = key
            method: Any = getattr(self._stub, _RPCS[role])

            def open_stream(token: str | None) -> AsyncIterable[pb.UsageReport]:
                metadata = (("authorization", f"Bearer {token}"),)
                stream = method(pb.GetUsageRequest.FromString(request), metadata=metadata)
                return cast(AsyncIterable[pb.UsageReport], stream)

            feed = _Feed(open_stream)
            feed.followers[follower] = access_token
            self._feeds[key] = feed, asyncio.create_task(feed.run())
        feed = self._feeds[key][0]
        feed.followers[follower] = access_token
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
        self, role: Role.ValueType, owner_id: str, request: pb.GetUsageRequest, access_token: AccessToken
    ) -> pb.UsageReport:
        """The latest answer, at once when it is followed already. Raises AppError."""
        key = (role, "" if role == ADMIN else owner_id, request.SerializeToString(deterministic=True))
        self._asked.add(key)
        if key not in self._followed:
            self._followed[key] = self._feeds.follow(key, self, access_token)
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
