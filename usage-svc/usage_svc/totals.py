"""What usage-svc tells billing: what the usage of a group comes to so far. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1.events_pb2 import ChargeClass, ForwardedTotal, UsageTotalBatch
from ams_common import formats

from usage_svc.events import Series
from usage_svc.sums import Rows

# Far below what Kafka takes as one message.
_MOST_TOGETHER = 500


class DayTotal(NamedTuple):
    """What a day's events of a series and a charge class come to: those up to and with the last offset of
    each source."""

    series_id: int
    day: date
    charge_class: ChargeClass.ValueType
    events: int
    requests: int
    request_bytes: int
    response_bytes: int
    last_offsets: Mapping[str, int]


def total_messages(
    totals: Sequence[DayTotal], series: Mapping[int, Series]
) -> Iterator[tuple[str, UsageTotalBatch]]:
    """What billing is told of `totals`: by consumer, with the consumer's id."""
    of_consumer: defaultdict[UUID, list[DayTotal]] = defaultdict(list)
    for total in totals:
        of_consumer[series[total.series_id].consumer_id].append(total)
    # A series has some totals, and its ids as texts cost more than all else of a total.
    parties = {series_id: _parties(series[series_id]) for series_id in {each.series_id for each in totals}}
    for consumer_id, several in of_consumer.items():
        for start in range(0, len(several), _MOST_TOGETHER):
            batch = UsageTotalBatch()
            for total in several[start : start + _MOST_TOGETHER]:
                added = batch.totals.add(
                    **parties[total.series_id],
                    day=total.day.isoformat(),
                    charge_class=total.charge_class,
                    events=total.events,
                    requests=total.requests,
                    request_bytes=total.request_bytes,
                    response_bytes=total.response_bytes,
                )
                for source, offset in total.last_offsets.items():
                    added.last_offsets[source] = offset
            yield str(consumer_id), batch


def _parties(series: Series) -> dict[str, str]:
    """The ids of a series, as fields of its totals."""
    return {
        "merchant_id": str(series.merchant_id),
        "consumer_id": str(series.consumer_id),
        "project_id": str(series.project_id) if series.project_id else "",
        "api_key_id": str(series.api_key_id),
        "service_id": str(series.service_id),
    }


class MalformedTotalError(ValueError):
    """A total of a gateway that can't be kept."""


def forwarded_rows(messages: Iterable[ForwardedTotal]) -> Rows:
    """The greatest total of each journal, day, merchant and consumer, in this order.

    Raises MalformedTotalError.
    """
    greatest: dict[tuple[UUID, date, UUID, UUID], int] = {}
    for message in messages:
        if len(message.journal_id) != 16:
            raise MalformedTotalError("journal_id must have 16 bytes")
        if not formats.DATE.fullmatch(message.day):
            raise MalformedTotalError("day must be a date")
        for name in ("merchant_id", "consumer_id"):
            if not formats.UUID.fullmatch(getattr(message, name)):
                raise MalformedTotalError(f"{name} must be a lower-case UUID")
        if message.events < 0:
            raise MalformedTotalError("events must not be negative")
        key = (
            UUID(bytes=message.journal_id),
            date.fromisoformat(message.day),
            UUID(message.merchant_id),
            UUID(message.consumer_id),
        )
        greatest[key] = max(greatest.get(key, 0), message.events)
    keys = sorted(greatest)
    journal_ids, days, merchant_ids, consumer_ids = map(list, zip(*keys, strict=True))
    return {
        "journal_id": journal_ids,
        "day": days,
        "merchant_id": merchant_ids,
        "consumer_id": consumer_ids,
        "events": [greatest[key] for key in keys],
    }
