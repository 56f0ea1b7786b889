"""DeadLettersService: an admin sees the dead letters of a service, has one applied, or gives it up. Every
service that reads Kafka serves it beside its own."""

from contextlib import suppress
from functools import partial
from io import StringIO
from typing import Any
from uuid import UUID

import asyncpg
from ams.dead_letters.v1 import dead_letters_service_pb2 as pb
from ams.dead_letters.v1 import dead_letters_service_pb2_grpc as rpc
from google.protobuf import text_format

from ams_common.clock import to_timestamp
from ams_common.database import Change
from ams_common.dead_letters import DeadLetters, Letter, LetterStore, StillUnapplicableError
from ams_common.errors import FailedPreconditionError, NotFoundError
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.server import ServedService

_MAX_CONTENT = 4000
# A status has to fit into the headers of an answer.
_MAX_TOLD = 500
_STATUSES = {pb.WAITING: "waiting", pb.REPLAYED: "replayed", pb.DISMISSED: "dismissed"}
_NUMBERS = {name: number for number, name in _STATUSES.items()}


def dead_letters_service(keeper: str, dead_letters: DeadLetters) -> ServedService:
    """As build_server takes it. `keeper`: the name of the service, "usage"."""
    return (
        pb.DESCRIPTOR.services_by_name["DeadLettersService"],
        partial(rpc.add_DeadLettersServiceServicer_to_server, DeadLettersService(keeper, dead_letters)),
    )


class DeadLettersService(rpc.DeadLettersServiceServicer):
    """Of the letters that `keeper` keeps. Each RPC raises NotFoundError keeper_not_found for another's."""

    def __init__(self, keeper: str, dead_letters: DeadLetters) -> None:
        self._keeper = keeper
        self._dead_letters = dead_letters
        self._database = dead_letters.database

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        self._check(request.keeper)
        status = _STATUSES[request.status or pb.WAITING]
        async with self._database.connection() as connection:
            store = LetterStore(connection)
            found = await store.list_dead_letters(page_request(request), status=status)
            waiting = await store.count_waiting()
        return pb.ListDeadLettersResponse(
            dead_letters=[self._message(letter) for letter in found.rows],
            next_page_token=found.next_token,
            waiting=waiting,
        )

    async def ReplayDeadLetter(self, request: pb.ReplayDeadLetterRequest, context: Context) -> pb.DeadLetter:
        """In one transaction with the audit record."""
        self._check(request.keeper)
        async with self._database.connection() as connection:
            waiting = await _lock(connection, request.dead_letter_id)
        try:
            prepared = await self._dead_letters.prepare(waiting)
            async with self._database.change() as change:
                letter = await _lock(change.connection, request.dead_letter_id)
                await self._dead_letters.apply(change, letter, prepared)
                return await self._decide(change, letter, pb.REPLAYED)
        except StillUnapplicableError as still:
            raise FailedPreconditionError(
                "still_unapplicable", f"The message still can't be applied: {str(still)[:_MAX_TOLD]}"
            ) from None

    async def DismissDeadLetter(
        self, request: pb.DismissDeadLetterRequest, context: Context
    ) -> pb.DeadLetter:
        self._check(request.keeper)
        async with self._database.change() as change:
            letter = await _lock(change.connection, request.dead_letter_id)
            return await self._decide(change, letter, pb.DISMISSED, reason=request.reason)

    def _check(self, keeper: str) -> None:
        if keeper != self._keeper:
            raise NotFoundError("keeper_not_found", "This service doesn't keep those dead letters.")

    async def _decide(
        self, change: Change[Any], letter: Letter, status: pb.DeadLetterStatus.ValueType, reason: str = ""
    ) -> pb.DeadLetter:
        decided = await LetterStore(change.connection).decide(
            dead_letter_id=letter.dead_letter_id, status=_STATUSES[status], reason=reason
        )
        assert decided is not None, "the row is locked"
        change.audit(
            "dead_letter", letter.dead_letter_id, keeper=self._keeper, topic=letter.topic, reason=reason
        )
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
        message, beginning = self._dead_letters.read(letter), _Beginning()
        if message is not None:
            with suppress(_FullError):
                text_format.PrintMessage(message, beginning, print_unknown_fields=True)
        return beginning.getvalue()[:_MAX_CONTENT]


class _FullError(Exception):
    """Nobody reads further."""


class _Beginning(StringIO):
    """Takes the beginning of a text: the whole of a large record takes a tenth of a second, in which nobody
    else is served, and a list has many."""

    def write(self, text: str) -> int:
        if self.tell() >= _MAX_CONTENT:
            raise _FullError
        return super().write(text)


async def _lock(connection: asyncpg.Connection, dead_letter_id: str) -> Letter:
    """Until the transaction ends, nobody else decides about it. Raises NotFoundError."""
    letter = await LetterStore(connection).lock_waiting(dead_letter_id=UUID(dead_letter_id))
    if letter is None:
        raise NotFoundError("dead_letter_not_found", "There is no such dead letter that waits.")
    return letter
