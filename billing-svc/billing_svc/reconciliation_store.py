"""The SQL of reconciliation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from uuid import UUID

from ams_common.queries import QueryStore, many

from billing_svc.reconciliation import Amount, DayKey, Rated

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DayScope:
    """Which days' counters. None: of all merchants, of all consumers."""

    first_day: date
    last_day: date
    merchant_ids: Sequence[UUID] | None
    consumer_id: UUID | None


def _digest(row: _Row) -> tuple[DayKey, str]:
    return (row["day"], row["merchant_id"]), row["digest"]


class ReconciliationStore(QueryStore, package="billing_svc", file="reconciliation.sql"):
    """Days of the counters, beside what was invoiced of them."""

    list_day_digests = many(row=_digest)
    _list_rated_days = many(dict[str, Any])
    _list_rated_consumers = many(dict[str, Any])

    async def list_rated_days(self, scope: DayScope) -> dict[DayKey, Rated]:
        return _rated(await self._list_rated_days(**asdict(scope)), "day", "merchant_id")

    async def list_rated_consumers(self, scope: DayScope) -> dict[tuple[date, UUID, UUID], Rated]:
        return _rated(await self._list_rated_consumers(**asdict(scope)), "day", "merchant_id", "consumer_id")


def _rated(rows: Iterable[_Row], *key: str) -> dict[Any, Rated]:
    """By the columns of `key`: of each there is a row for each reason why some of it may not be invoiced."""
    of_key: dict[Any, list[_Row]] = {}
    for row in rows:
        of_key.setdefault(tuple(row[name] for name in key), []).append(row)
    return {
        found: Rated(
            rated=sum((_amount(row, "") for row in several), Amount()),
            invoiced=sum((_amount(row, "invoiced_") for row in several), Amount()),
            excess=sum((_amount(row, "excess_") for row in several), Amount()),
            open={row["reason"]: _amount(row, "open_") for row in several},
        )
        for found, several in of_key.items()
    }


def _amount(row: _Row, prefix: str) -> Amount:
    return Amount(row[prefix + "requests"], row[prefix + "request_bytes"], row[prefix + "response_bytes"])
