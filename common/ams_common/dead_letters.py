"""Messages of Kafka that could not be applied: they are kept until somebody decides, or a release that can
apply them starts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from ams.dead_letters.v1 import dead_letters_pb2 as pb
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from ams_common import metrics
from ams_common.clock import to_timestamp
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError, NotFoundError
from ams_common.faults import PASSING_FAULTS
from ams_common.ids import uuid7
from ams_common.paging import page_request
from ams_common.queries import QueryStore, one, page, run, value
from ams_common.release import release_of
from ams_common.subscriptions import Batch, Record, Rejection, TopicHandler

log = logging.getLogger(__name__)

_MAX_CONTENT = 4000
_MAX_ERROR = 2000
_STATUSES = {pb.WAITING: "waiting", pb.REPLAYED: "replayed", pb.DISMISSED: "dismissed"}
_NUMBERS = {name: number for number, name in _STATUSES.items()}


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
        self._database = database
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

    async def list(self, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        """Newest first, of one status."""
        async with self._database.connection() as connection:
            store = LetterStore(connection)
            status = _STATUSES.get(request.status, "waiting")
            found = await store.list_dead_letters(page_request(request), status=status)
            waiting = await store.count_waiting()
        return pb.ListDeadLettersResponse(
            dead_letters=[self._message(letter) for letter in found.rows],
            next_page_token=found.next_token,
            waiting=waiting,
        )

    async def replay(self, request: pb.DeadLetterId) -> pb.DeadLetter:
        """Applies one that waits, in one transaction with the audit record.

        Raises NotFoundError, FailedPreconditionError still_unapplicable.
        """
        async with self._database.connection() as connection:
            waiting = await self._waiting(connection, request.dead_letter_id)
        try:
            prepared = await self._prepared(waiting)
            async with self._database.change() as change:
                letter = await self._waiting(change.connection, request.dead_letter_id)
                await self._apply(change, letter, prepared)
                return await self._decide(change, letter, pb.REPLAYED, "")
        except _StillUnapplicableError as still:
            raise FailedPreconditionError(
                "still_unapplicable", f"The message still can't be applied: {still}"
            ) from None

    async def dismiss(self, request: pb.DismissDeadLetterRequest) -> pb.DeadLetter:
        """Gives one up that waits. Raises NotFoundError."""
        async with self._database.change() as change:
            letter = await self._waiting(change.connection, request.dead_letter_id)
            return await self._decide(change, letter, pb.DISMISSED, request.reason)

    async def retry_those_of_other_releases(self) -> None:
        """Tries each that waits and that only another release has tried: it may be understood by now."""
        for topic in self._handlers:
            while await self._retry_next(topic):
                pass

    async def _retry_next(self, topic: str) -> bool:
        """Tries the oldest; returns whether there was one."""
        release = self._release(topic)
        async with self._database.connection() as connection:
            found = await LetterStore(connection).next_of_other_release(topic=topic, release=release)
        if found is None:
            return False
        try:
            prepared = await self._prepared(found)
            async with self._database.change_by_system(f"retry {topic}", audited=False) as change:
                store = LetterStore(change.connection)
                # None: somebody has decided meanwhile.
                if await store.lock_waiting(dead_letter_id=found.dead_letter_id) is not None:
                    await self._apply(change, found, prepared)
                    await store.decide(
                        dead_letter_id=found.dead_letter_id,
                        status=_STATUSES[pb.REPLAYED],
                        reason=f"by release {release}",
                    )
        except _StillUnapplicableError as still:
            async with self._database.change_by_system(f"retry {topic}", audited=False) as change:
                await LetterStore(change.connection).note_failure(
                    dead_letter_id=found.dead_letter_id, error=str(still)[:_MAX_ERROR], release=release
                )
        return True

    async def _prepared(self, letter: Letter) -> Any:
        """What its handler takes of the message. Raises _StillUnapplicableError."""
        handler = self._handlers.get(letter.topic)
        if handler is None:
            raise _StillUnapplicableError("nothing handles its topic any more")
        prepared, rejections = handler.prepare(letter.batch)
        if rejections:
            raise _StillUnapplicableError(rejections[0].error)
        await handler.make_ready(prepared)
        return prepared

    async def _apply(self, change: Change, letter: Letter, prepared: Any) -> None:
        """Raises _StillUnapplicableError, which gives the transaction up."""
        try:
            await self._handlers[letter.topic].replay(change, letter.record, prepared)
        except PASSING_FAULTS:
            raise
        except Exception as error:
            raise _StillUnapplicableError(repr(error)) from error

    async def _waiting(self, connection: asyncpg.Connection, dead_letter_id: str) -> Letter:
        letter = await LetterStore(connection).lock_waiting(dead_letter_id=UUID(dead_letter_id))
        if letter is None:
            raise NotFoundError("dead_letter_not_found", "There is no such dead letter that waits.")
        return letter

    async def _decide(
        self, change: Change, letter: Letter, status: pb.DeadLetterStatus.ValueType, reason: str
    ) -> pb.DeadLetter:
        decided = await LetterStore(change.connection).decide(
            dead_letter_id=letter.dead_letter_id, status=_STATUSES[status], reason=reason
        )
        assert decided is not None, "the row is locked"
        change.audit("dead_letter", letter.dead_letter_id, topic=letter.topic, reason=reason)
        return self._message(decided)

    def _message(self, letter: Letter) -> pb.DeadLetter:
        return pb.DeadLetter(
            dead_letter_id=str(letter.dead_letter_id),
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.message_offset,
            error=letter.error,
            status=_NUMBERS[letter.status],
            created_at=to_timestamp(letter.created_at),
            decided_at=to_timestamp(letter.decided_at),
            reason=letter.reason,
            content=self._content(letter),
        )

    def _content(self, letter: Letter) -> str:
        handler = self._handlers.get(letter.topic)
        if handler is None:
            return ""
        try:
            content = handler.read(letter.payload or b"")
        except DecodeError:
            return ""
        return text_format.MessageToString(content, print_unknown_fields=True)[:_MAX_CONTENT]

    def _release(self, topic: str) -> str:
        handler = self._handlers.get(topic)
        return release_of([handler.package] if handler else [])


class _StillUnapplicableError(Exception):
    """A dead letter that was tried again in vain, and why."""
