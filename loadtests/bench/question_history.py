"""A year of usage as usage-svc would have summed it up, for `make bench-questions`."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
from ams.usage.v1.events_pb2 import ANSWERED
from ams_common.ids import uuid7
from usage_svc import binary_copy
from usage_svc.columns import US_PER_DAY, EventColumns
from usage_svc.events import Series, charge_class_of, series_of
from usage_svc.rollups import US_PER_HOUR, Level, all_levels
from usage_svc.store import Store

DAYS = 365
# As long as minutes may be kept, and raw events where the log of calls is measured.
DAYS_OF_MINUTES = 14
_CHUNK_DAYS = 5
_STATUSES = np.array([200, 404, 500])
_CLASSES = np.array([charge_class_of(ANSWERED, int(status)) for status in _STATUSES])


@dataclass(frozen=True)
class Market:
    """One consumer with many calls, and others who fill the tables."""

    consumer: list[Series]
    others: list[Series]
    today: datetime

    @classmethod
    def make(cls, keys: int, others: int, seed: int) -> "Market":
        rng = random.Random(seed)
        services = [(str(uuid7()), str(uuid7())) for _ in range(10)]

        def series(consumer_id: str, number: int) -> Series:
            merchant_id, service_id = services[number % len(services)]
            made = series_of(consumer_id, merchant_id, service_id, str(uuid7()), "", f"ams_live_{number:08d}")
            assert made is not None
            return made

        consumer_id = str(uuid7())
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(
            [series(consumer_id, number) for number in range(keys)],
            [series(str(uuid7()), rng.randrange(10)) for _ in range(others)],
            today,
        )


async def load(
    connection: asyncpg.Connection, market: Market, events: int, of_others: int, seed: int
) -> None:
    """Series, rollups of a year, minutes of its last days, and the raw events of the last one."""
    await connection.copy_records_to_table("series", records=[*market.consumer, *market.others])
    await connection.execute("INSERT INTO sources (name) VALUES ('bench/0')")
    rng = np.random.default_rng(seed)
    for ago in range(DAYS, 0, -_CHUNK_DAYS):
        days = min(ago, _CHUNK_DAYS)
        start = market.today - timedelta(days=ago)
        chunk = _joined(
            _events(rng, market.consumer, start, days, events * days // DAYS),
            _events(rng, market.others, start, days, of_others * days // DAYS),
        )
        levels = all_levels(chunk, {})
        if ago <= DAYS_OF_MINUTES:
            dates = [(start + timedelta(days=day)).date() for day in range(days)]
            await connection.fetchval("SELECT ensure_usage_partitions($1)", dates)
        else:
            del levels[Level.MINUTE]
        async with connection.transaction():
            await Store(connection).add_rollups(levels)
        if ago <= _CHUNK_DAYS:
            await connection.copy_to_table(
                "usage_events",
                source=_pieces(binary_copy.rows(chunk, 1)),
                columns=binary_copy.COLUMNS,
                format="binary",
            )
    await connection.fetchval("SELECT begin_consumer_sums(ARRAY(SELECT DISTINCT consumer_id FROM series))")
    rollups = [f"rollups_by_{level.name.lower()}" for level in Level]
    for table in ("series", "consumer_sums", "usage_events", *rollups):
        await connection.execute(f"VACUUM (ANALYZE) {table}")


def _events(
    rng: np.random.Generator, series: list[Series], start: datetime, days: int, count: int
) -> EventColumns:
    """More by day than by night, some series more than others; response times around 80 ms with a long
    tail."""
    weights = 1 / np.arange(1, len(series) + 1) ** 0.5
    chosen = rng.choice(len(series), count, p=weights / weights.sum())
    hours = 1 + np.sin(np.arange(24) / 24 * 2 * np.pi - 2)
    hour = rng.choice(24, count, p=hours / hours.sum())
    at_us = rng.integers(0, days, count) * US_PER_DAY + hour * US_PER_HOUR
    kind = rng.choice(3, count, p=[0.97, 0.02, 0.01])
    columns: dict[str, npt.NDArray[Any]] = {
        each.name: np.zeros(count, dtype=np.int64) for each in fields(EventColumns)
    }
    columns |= {
        "id_high": rng.integers(0, 2**63, count, dtype=np.uint64),
        "id_low": rng.integers(0, 2**63, count, dtype=np.uint64),
        "occurred_at_us": int(start.timestamp()) * 1_000_000 + at_us + rng.integers(0, US_PER_HOUR, count),
        "series_id": np.array([each.series_id for each in series])[chosen],
        "series": np.zeros(count, dtype=np.object_),
        "request_id": np.full(count, "", dtype=np.object_),
        "journal_id": np.full(count, b"", dtype=np.object_),
        "price_version_id": np.full(count, UUID(int=1).bytes, dtype=np.object_),
        "request_bytes": rng.integers(100, 2_000, count),
        "response_bytes": rng.integers(100, 20_000, count),
        "response_time_ms": rng.lognormal(4.4, 0.6, count).astype(np.int64),
        "status_code": _STATUSES[kind],
        "charge_class": _CLASSES[kind],
        "outcome": np.full(count, ANSWERED),
        "is_continuation": np.zeros(count, dtype=np.bool_),
        "is_test": np.zeros(count, dtype=np.bool_),
    }
    return EventColumns(**columns)


def _joined(one: EventColumns, other: EventColumns) -> EventColumns:
    return EventColumns(
        *(
            np.concatenate([getattr(one, each.name), getattr(other, each.name)])
            for each in fields(EventColumns)
        )
    )


async def _pieces(pieces: Iterator[bytes]) -> Any:
    for piece in pieces:
        yield piece
