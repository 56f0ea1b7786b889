"""What a service does with the records of a topic: how they are read, and what effect they have."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from ams_common.database import Change

M = TypeVar("M", bound=Message)
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Record:
    """A record as Kafka has it."""

    offset: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition, in their order."""

    # "<incarnation of the topic>/<partition>": with an offset it names a record for good.
    source: str
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record, or the part of one, that can't be applied, and why."""

    record: Record
    error: str


class TopicHandler(Protocol[P]):
    """Handles a topic's records in two steps, so that a batch is read while the database is at another."""

    @property
    def topic(self) -> str: ...

    @property
    def package(self) -> str:
        """The package of its code: another release of that tries again what this one couldn't apply."""

    def read(self, value: bytes) -> Message:
        """A record's value, for people to look at. Raises DecodeError."""

    def prepare(self, batch: Batch) -> tuple[P, Sequence[Rejection]]:
        """What `apply` takes of the batch, and what can't be applied. It may run in a thread, and again."""

    def merge(self, prepared: Sequence[P]) -> P:
        """What was prepared of batches that follow each other, one at least, as that of one."""

    async def make_ready(self, prepared: P) -> None:
        """Before the transaction: what has to be there already, in a transaction of its own."""

    async def apply(self, change: Change, prepared: P) -> None:
        """Within the transaction that also moves the offset. An exception that isn't a passing fault is a
        record's fault: which one's is found out by applying fewer at a time."""

    async def replay(self, change: Change, record: Record, prepared: P) -> None:
        """Within a transaction: gives a record its effect that could not be applied when it was read, and of
        which all is `prepared` by now."""


@dataclass(frozen=True, slots=True)
class Subscription(Generic[M]):
    """What is done with the messages of a topic: `handle` gets them parsed, in the order of their
    partition, within the transaction that also moves the offset. Its errors dead-letter messages."""

    topic: str
    message_type: type[M]
    handle: Callable[[Change, Sequence[M]], Awaitable[None]]

    @property
    def package(self) -> str:
        handle: Any = self.handle
        while isinstance(handle, partial):
            handle = handle.func
        return str(getattr(handle, "__module__", type(handle).__module__)).partition(".")[0]

    def read(self, value: bytes) -> M:
        return self.message_type.FromString(value)

    def prepare(self, batch: Batch) -> tuple[Sequence[M], list[Rejection]]:
        messages: list[M] = []
        rejections: list[Rejection] = []
        for record in batch.records:
            try:
                messages.append(self.message_type.FromString(record.value))
            except DecodeError as error:
                rejections.append(Rejection(record, repr(error)))
        return messages, rejections

    def merge(self, prepared: Sequence[Sequence[M]]) -> Sequence[M]:
        return [message for each in prepared for message in each]

    async def make_ready(self, prepared: Sequence[M]) -> None:
        """Nothing: the tables are there."""

    async def apply(self, change: Change, prepared: Sequence[M]) -> None:
        if prepared:
            await self.handle(change, prepared)

    async def replay(self, change: Change, record: Record, prepared: Sequence[M]) -> None:
        await self.apply(change, prepared)
