"""The SQL of reconciliation."""

from collections.abc import Mapping
from typing import Any

from ams_common.queries import QueryStore, many

from billing_svc.reconciliation import DayKey, Rated


def _rated(row: Mapping[str, Any]) -> tuple[DayKey, Rated]:
    figures = {name: count for name, count in row.items() if name not in ("day", "merchant_id")}
    return (row["day"], row["merchant_id"]), Rated(**figures)


class ReconciliationStore(QueryStore, package="billing_svc", file="reconciliation.sql"):
    """Days of the counters, beside what was invoiced of them."""

    list_rated_days = many(row=_rated)
