"""Figures as they change: one stream from a service for each question, however many live pages show it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from ams.billing.v1 import billing_service_pb2 as billing
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as usage
from ams_common.errors import (
    AppError,
    DeadlineExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from google.protobuf.message import Message

from ams_bff.http.api import Api

A = TypeVar("A", bound=Message)

_REOPEN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Watch(Generic[A]):
    """An RPC that tells its answer anew whenever it has changed. `is_everybodys`: all who may ask get the
    same answer, else each their own."""

    name: str
    open: Callable[[Api], Callable[..., AsyncGenerator[A, None]]]
    is_everybodys: bool = False


WATCH_USAGE_OF: Final[dict[Role.ValueType, Watch[usage.UsageReport]]] = {
    CONSUMER: Watch("WatchConsumerUsage", lambda api: api.usage.WatchConsumerUsage),
    MERCHANT: Watch("WatchMerchantUsage", lambda api: api.usage.WatchMerchantUsage),
    ADMIN: Watch("WatchPlatformUsage", lambda api: api.usage.WatchPlatformUsage, is_everybodys=True),
}
WATCH_SPEND: Final[Watch[billing.BatchGetConsumerSpendResponse]] = Watch(
    "WatchConsumerSpend", lambda api: api.billing.WatchConsumerSpend
)
WATCH_REVENUE: Final[Watch[billing.BatchGetMerchantRevenueResponse]] = Watch(
    "WatchMerchantRevenue", lambda api: api.billing.WatchMerchantRevenue
)

# Which RPC is asked, for whom, and what: everybody with the same gets the same answer.
_Key: TypeAlias = tuple[str, str, bytes]


@dataclass(eq=False)
class _Feed:
    """The latest answer to a question, for as long as somebody follows it."""

    watch: Watch[Any]
    request: Message
    # By who follows, and is told when there is something new: what to ask with.
    followers: dict["Follower", Api] = field(default_factory=dict)
    answer: Message | None = None
    error: AppError | None = None
    has_first: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until it is canceled. A stream ends with the token that it was opened with, at the latest."""
        fields = {descriptor.name: value for descriptor, value in self.request.ListFields()}
        while True:
            for api in list(self.followers.values()):
                try:
                    # Canceling a renewal could lose the session's new tokens.
                    await asyncio.shield(asyncio.ensure_future(api.access_token()))
                    async with aclosing(self.watch.open(api)(**fields)) as answers:
                        async for answer in answers:
                            self._tell(answer, None)
                except AppError as error:
                    self._fail(error)
            await asyncio.sleep(_REOPEN_S)

    def _fail(self, error: AppError) -> None:
        is_over = isinstance(error, UnauthenticatedError | PermissionDeniedError)
        # Its token may have run out, or its session have ended: the next one's may be good.
        if self.answer is None or not is_over:
            self._tell(self.answer, error)

    def _tell(self, answer: Message | None, error: AppError | None) -> None:
        self.answer, self.error = answer, error
        self.has_first.set()
        for follower in self.followers:
            follower.news.set()


class Feeds:
    """The questions that are followed in this process."""

    def __init__(self, first_deadline_s: float) -> None:
        """`first_deadline_s`: how long a page waits for the first answer."""
        self.first_deadline_s = first_deadline_s
        self._feeds: dict[_Key, tuple[_Feed, asyncio.Task[None]]] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def follow(self, key: _Key, watch: Watch[Any], request: Message, follower: "Follower", api: Api) -> _Feed:
        """The feed of a question, which begins with its first follower."""
        if key not in self._feeds:
            feed = _Feed(watch, request, {follower: api})
            self._feeds[key] = feed, asyncio.create_task(feed.run())
        feed = self._feeds[key][0]
        feed.followers[follower] = api
        return feed

    def leave(self, key: _Key, follower: "Follower") -> None:
        """Ends the feed with its last follower."""
        feed, task = self._feeds[key]
        feed.followers.pop(follower, None)
        if not feed.followers:
            del self._feeds[key]
            task.cancel()


class Follower:
    """What one live page follows: whatever it asked when it was last drawn. `news` is set when there is
    something new."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._followed: dict[_Key, _Feed] = {}
        self._asked: set[_Key] = set()
        self.news = asyncio.Event()

    async def latest(self, watch: Watch[A], owner_id: str, api: Api, request: Message) -> A:
        """The latest answer to a request, at once when it is followed already. Raises AppError."""
        key = (
            watch.name,
            "" if watch.is_everybodys else owner_id,
            request.SerializeToString(deterministic=True),
        )
        self._asked.add(key)
        if key not in self._followed:
            self._followed[key] = self._feeds.follow(key, watch, request, self, api)
        feed = self._followed[key]
        try:
            await asyncio.wait_for(feed.has_first.wait(), self._feeds.first_deadline_s)
        except TimeoutError:
            raise DeadlineExceededError("deadline_exceeded", "A service didn't answer in time.") from None
        if feed.error is not None:
            raise feed.error
        if feed.answer is None:
            raise UnavailableError("service_unavailable", "There is no answer yet.")
        return cast("A", feed.answer)

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
