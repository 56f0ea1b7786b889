"""The SQL of proofs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from ams_common.queries import QueryStore, many
from ams_rating.charging import ChargeClass
from ams_rating.price_json import price_from_json
from ams_rating.proof import PriceVersion


@dataclass(frozen=True, slots=True)
class UsageBehind:
    """What an invoice counts of one API key: the events of each source up to and with its last offset."""

    service_id: UUID
    day: date
    charge_class: ChargeClass
    api_key_id: UUID
    last_offsets: Mapping[str, int]
    requests: int
    request_bytes: int
    response_bytes: int


def _usage(row: Mapping[str, Any]) -> UsageBehind:
    charge_class, last_offsets = ChargeClass(row["charge_class"]), json.loads(row["last_offsets"])
    return UsageBehind(**{**row, "charge_class": charge_class, "last_offsets": last_offsets})


def _version(row: Mapping[str, Any]) -> PriceVersion:
    return PriceVersion(**{**row, "price": price_from_json(json.loads(row["price"]))})


class ProofStore(QueryStore, package="billing_svc.proofs"):
    """What the lines of an issued invoice were made of."""

    list_usage_behind = many(row=_usage)
    list_versions_behind = many(row=_version)
