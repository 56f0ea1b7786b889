"""A service as it is stored, and its price: what the rules work on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ams_common.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """A price: the model's name ("per_request"), an ISO 4217 code, and the amount of one unit."""

    model: str
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One row of service_details; `type`, `status` and `merchant_standing` hold the database's words.

    `price` is the version `price_version_id`, or with None there the one that starts on approval.
    """

    service_id: UUID
    merchant_id: UUID
    merchant_name: str
    merchant_standing: str
    slug: str
    name: str
    description: str
    type: str
    status: str
    base_url: str
    documentation_url: str
    version: str
    tags: tuple[str, ...]
    rate_limit_per_minute: int
    additional_info: str
    rejection_reason: str
    price: PriceTerms
    price_version_id: UUID | None
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantStanding:
    """What is known of a merchant's standing, in the database's word, and since which version."""

    standing: str
    standing_version: int


def record_of(row: Mapping[str, Any]) -> ServiceRecord:
    """Makes the record that a row of service_details holds."""
    plain = {name: row[name] for name in ServiceRecord.__slots__ if name not in ("price", "tags")}
    price = PriceTerms(row["price_model"], row["price_currency"], row["price_amount"])
    return ServiceRecord(**plain, tags=tuple(row["tags"]), price=price)


def found(record: ServiceRecord | None) -> ServiceRecord:
    """The record. Raises NotFoundError service_not_found for None."""
    if record is None:
        raise service_not_found()
    return record


def service_not_found() -> NotFoundError:
    """One error for what isn't there, isn't the caller's, and isn't public: nobody can tell which."""
    return NotFoundError("service_not_found", "There is no such service.")
