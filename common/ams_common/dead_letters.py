"""Messages of Kafka that could not be applied: they are kept until somebody decides, or a release that can
apply them starts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import DecodeError, Message

from ams_common import metrics
from ams_common.database import Change, Database
from ams_common.faults import PASSING_FAULTS
from ams_common.ids import uuid7
from ams_common.loops import run_forever
from ams_common.queries import QueryStore, one, page, run, value
from ams_common.release import release_of
from ams_common.subscriptions import Batch, Record, Rejection, TopicHandler

log = logging.getLogger(__name__)

_MAX_ERROR = 2000
_COUNT_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of dead_letters."""

    dead_letter_id: UUID
    topic: str
    partition: int
    incarnation: str
    message_offset: int
    message_key: bytes | None
    payload: bytes | None
    error: str
    status: str
    created_at: datetime
    decided_at: datetime | None
    reason: str

    @property
    def record(self) -> Record:
        return Record(self.message_offset, self.message_key, self.payload or b"")

    @property
    def batch(self) -> Batch:
        """The message as it was read: by itself, from where it was."""
        return Batch(f"{self.incarnation}/{self.partition}", [self.record])


class LetterStore(QueryStore, package="ams_common", file="dead_letters.sql"):
    """The table dead_letters of a service's schema."""

    keep_dead_letter = run()
    list_dead_letters = page(Letter)
    count_waiting = value(int)
    lock_waiting = one(Letter)
    next_of_other_release = one(Letter)
    decide = one(Letter)
    note_failure = run()


class DeadLetters:
    """The dead letters of a service that handles topics with `handlers`."""

    def __init__(
        self, database: Database, handlers: Sequence[TopicHandler[Any]], topic_prefix: str = ""
    ) -> None:
        self.database = database
        self._handlers = {topic_prefix + handler.topic: handler for handler in handlers}

    async def keep(
        self, change: Change, topic: str, partition: int, incarnation: str, rejections: Sequence[Rejection]
    ) -> None:
        """Keeps what can't be applied in the transaction that moves on behind it, and raises the alarm."""
        store = LetterStore(change.connection)
        for rejection in rejections:
            await store.keep_dead_letter(
                dead_letter_id=uuid7(),
                topic=topic,
                partition=partition,
                incarnation=incarnation,
                message_offset=rejection.record.offset,
                message_key=rejection.record.key,
                payload=rejection.record.value,
                error=rejection.error[:_MAX_ERROR],
                release=self._release(topic),
            )
            log.critical(
                "message dead-lettered",
                extra={
                    "topic": topic,
                    "partition": partition,
                    "offset": rejection.record.offset,
                    "error": rejection.error,
                },
            )
        metrics.counter(
            "ams_dead_letters", "Messages, or parts of one, that could not be applied.", "topic"
        ).labels(topic).inc(len(rejections))

    async def retry_those_of_other_releases(self) -> None:
        """Tries each that waits and that only another release has tried: it may be understood by now."""
        for topic in self._handlers:
            while await self._retry_next(topic):
                pass

    async def _retry_next(self, topic: str) -> bool:
        """Tries the oldest; returns whether there was one."""
        release = self._release(topic)
        async with self.database.connection() as connection:
            found = await LetterStore(connection).next_of_other_release(topic=topic, release=release)
        if found is None:
            return False
        try:
            prepared = await self.prepare(found)
            async with self.database.change_by_system(f"retry {topic}", audited=False) as change:
                store = LetterStore(change.connection)
                # None: somebody has decided meanwhile.
                if await store.lock_waiting(dead_letter_id=found.dead_letter_id) is not None:
                    await self.apply(change, found, prepared)
                    await store.decide(
                        dead_letter_id=found.dead_letter_id,
                        status="replayed",
                        reason=f"by release {release}",
                    )
        except StillUnapplicableError as still:
            async with self.database.change_by_system(f"retry {topic}", audited=False) as change:
                await LetterStore(change.connection).note_failure(
                    dead_letter_id=found.dead_letter_id, error=str(still)[:_MAX_ERROR], release=release
                )
        return True

    async def prepare(self, letter: Letter) -> Any:
        """What its handler takes of the message, for `apply`. Raises StillUnapplicableError."""
        handler = self._handlers.get(letter.topic)
        if handler is None:
            raise StillUnapplicableError("nothing handles its topic any more")
        prepared, rejections = handler.prepare(letter.batch)
        if rejections:
            raise StillUnapplicableError(rejections[0].error)
        await handler.make_ready(prepared)
        return prepared

    async def apply(self, change: Change, letter: Letter, prepared: Any) -> None:
        """Gives the message its effect. Raises StillUnapplicableError, which gives the transaction up."""
        try:
            await self._handlers[letter.topic].replay(change, letter.record, prepared)
        except PASSING_FAULTS:
            raise
        except Exception as error:
            raise StillUnapplicableError(repr(error)) from error

    def read(self, letter: Letter) -> Message | None:
        """The message; None where it can't be read, or nothing handles its topic any more."""
        handler = self._handlers.get(letter.topic)
        try:
            return handler.read(letter.payload or b"") if handler is not None else None
        except DecodeError:
            return None

    async def keep_counted(self) -> None:
        """For ever: how many wait, as operators see it."""
        await run_forever("counting of dead letters", self.count_waiting, _COUNT_EVERY_S)

    async def count_waiting(self) -> None:
        """Sets the metric. Each process of a service says the same: the letters are in its database."""
        async with self.database.connection() as connection:
            waiting = await LetterStore(connection).count_waiting()
        metrics.gauge(
            "ams_dead_letters_waiting",
            "Messages that could not be applied, and that nobody has decided about.",
            over_workers="livemax",
        ).set(waiting)

    def _release(self, topic: str) -> str:
        handler = self._handlers.get(topic)
        return release_of([handler.package] if handler else [])


class StillUnapplicableError(Exception):
    """A dead letter that was tried again in vain, and why."""
