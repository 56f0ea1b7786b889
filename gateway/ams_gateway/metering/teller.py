"""Tells Kafka how many events journals have had: the worker's own every few seconds, a dead worker's once."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime

from ams_gateway.metering.delivery import Delivery
from ams_gateway.metering.files import JournalFiles, Position
from ams_gateway.metering.forwarded import ForwardedTotals, Group, encode_total
from ams_gateway.metering.journal import Journal

log = logging.getLogger(__name__)

_EVERY_S = 3.0
# Longer than Kafka takes to choose new leaders; a producer that was stopped meanwhile never answers.
_TIMEOUT_S = 30.0
# What is read of a file in one go: reading it holds the event loop up for a millisecond.
_READ_BYTES = 64 * 1024


class Teller:
    def __init__(self, delivery: Delivery, topic: str, journal: Journal) -> None:
        self._delivery = delivery
        self._topic = topic
        self._journal = journal
        # Those that are to be told of, with their totals once they have been counted.
        self._dead: dict[JournalFiles, Mapping[Group, int] | None] = {}
        self._wake = asyncio.Event()
        self._day: date | None = None

    def tell_of(self, files: JournalFiles) -> None:
        """Of a dead worker's journal, which mustn't let go of anything before `has_told`."""
        self._dead[files] = None
        self._wake.set()

    def has_told(self, files: JournalFiles) -> bool:
        return files not in self._dead

    async def run(self) -> None:
        """For ever. What Kafka doesn't take now it is told again."""
        while True:
            try:
                await self._tell_own()
                for files in list(self._dead):
                    await self._tell_dead(files)
            except Exception as error:
                log.warning("forwarded totals can't be published now: %s", type(error).__name__)
            self._forget_days()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _EVERY_S)
            self._wake.clear()

    async def tell_last(self, timeout_s: float) -> None:
        """What hasn't been told yet, at a stop. What can't be stays in the journal, for its next holder."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._tell_own(), timeout_s)

    async def _tell_own(self) -> None:
        forwarded = self._journal.forwarded
        if not forwarded.has_untold:
            return
        totals = forwarded.take_untold()
        try:
            await self._send(self._journal.journal_id, totals)
        except BaseException:
            forwarded.put_back(totals)
            raise

    async def _tell_dead(self, files: JournalFiles) -> None:
        totals = self._dead[files]
        try:
            journal_id = bytes.fromhex(files.name)
            if totals is None:
                totals = self._dead[files] = await count_events(files)
        except (OSError, ValueError) as error:
            # Whoever replays it finds the same, and gives it back; or somebody has named it so.
            log.critical("journal can't be counted", extra={"error": repr(error)})
        else:
            await self._send(journal_id, totals)
        del self._dead[files]

    async def _send(self, journal_id: bytes, totals: Mapping[Group, int]) -> None:
        records = (
            (group.consumer_id, encode_total(journal_id, group, events)) for group, events in totals.items()
        )
        await asyncio.wait_for(self._delivery.send(self._topic, records), _TIMEOUT_S)

    def _forget_days(self) -> None:
        now = datetime.now(UTC)
        if now.date() != self._day:
            self._day = now.date()
            self._journal.forwarded.drop_closed_days(now)


async def count_events(files: JournalFiles) -> dict[Group, int]:
    """All that the journal has ever had: what its worker saved, and what its segments have beyond that."""
    totals = ForwardedTotals(files.saved_totals())
    position = Position(0, 0)
    while True:
        events, position = files.read(_READ_BYTES, start=position)
        if not events:
            return totals.all()
        for event in events:
            totals.add(event)
        await asyncio.sleep(0)
