"""Rows of usage_events as leaves. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ams_common.pseudonyms import Pseudonyms
from ams_rating.events import UsageEvent, write_leaf

from usage_svc.events import OUTCOMES

EVENT_COLUMNS = (
    "event_id, occurred_at, series_id, source_id, source_offset, request_bytes, response_bytes, status_code, "
    "outcome, is_test, is_continuation"
)


@dataclass(frozen=True, slots=True)
class SeriesOfLeaf:
    """What the leaves of a series have in common; consumer and key by the merchant's names for them."""

    merchant_id: UUID
    consumer: str
    api_key: str
    service_id: UUID


def series_of_leaf(row: Mapping[str, Any], pseudonyms: Pseudonyms) -> SeriesOfLeaf:
    merchant_id = row["merchant_id"]
    return SeriesOfLeaf(
        merchant_id,
        pseudonyms.of_consumer(merchant_id, row["consumer_id"]),
        pseudonyms.of_key(merchant_id, row["api_key_id"]),
        row["service_id"],
    )


def leaf_of(row: Mapping[str, Any], series: SeriesOfLeaf, source: str) -> bytes:
    """The leaf of a row that has EVENT_COLUMNS."""
    return write_leaf(
        UsageEvent(
            event_id=row["event_id"],
            occurred_at=row["occurred_at"],
            merchant_id=series.merchant_id,
            consumer=series.consumer,
            api_key=series.api_key,
            service_id=series.service_id,
            outcome=OUTCOMES[row["outcome"]],
            status_code=row["status_code"],
            request_bytes=row["request_bytes"],
            response_bytes=row["response_bytes"],
            is_test=row["is_test"],
            is_continuation=row["is_continuation"],
            source=source,
            offset=row["source_offset"],
        )
    )
