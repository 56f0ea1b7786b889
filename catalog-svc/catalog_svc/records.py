"""A service as it is stored, and its prices: what the rules work on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from ams_common.errors import NotFoundError
from ams_rating.price_json import price_from_json
from ams_rating.prices import Price

from catalog_svc import metadata
from catalog_svc.documents import Document, document_of
from catalog_svc.metadata import Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """A row of price_versions."""

    price_version_id: UUID
    service_id: UUID
    price: Price
    starts_at: datetime
    created_at: datetime
    canceled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How the gateway forwards a service's calls. A number that is 0 stands for the platform's default.

    The fields are the contract's ForwardingSettings, and the columns, of the same names; `limit_scope` holds
    the database's word.
    """

    first_byte_timeout_s: int = 0
    idle_timeout_s: int = 0
    total_timeout_s: int = 0
    max_connections: int = 0
    passes_cookies: bool = False
    cors_origins: tuple[str, ...] = ()
    allows_websockets: bool = False
    shows_costs: bool = False
    quota_per_day: int = 0
    quota_per_month: int = 0
    limit_scope: str = "per_consumer"


@dataclass(frozen=True, slots=True)
class UpstreamCredential:
    """A header that lets AMS in at the upstream; `kind` holds the database's word."""

    kind: str
    header_name: str
    sealed_value: bytes
    set_at: datetime


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that calls are signed with, without its secret. `starts_at`: of the next one, until then."""

    signing_key_id: UUID
    created_at: datetime
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One row of service_details, as it is at a moment; `type`, `status` and `merchant_standing` hold the
    database's words.

    `price` is the version `price_version_id`, which is in force then, or with None there the one that starts
    on approval. `next_price` is the version that has been announced next.
    `sealed_signing_key` is the secret of `signing_key`, as `sealed_next_signing_key` is that of the key that
    will take its place.
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
    suspension_reason: str
    price: Price
    price_version_id: UUID | None
    next_price: PriceVersion | None
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None
    metadata: Metadata
    forwarding: Forwarding = Forwarding()
    credential: UpstreamCredential | None = None
    signing_key: SigningKey | None = None
    sealed_signing_key: bytes | None = None
    previous_signing_key: SigningKey | None = None
    next_signing_key: SigningKey | None = None
    sealed_next_signing_key: bytes | None = None
    document: Document | None = None


# The other fields are columns of the same name.
_MADE_OF_COLUMNS = frozenset(
    {
        "price",
        "next_price",
        "tags",
        "metadata",
        "forwarding",
        "credential",
        "signing_key",
        "previous_signing_key",
        "next_signing_key",
        "document",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantStanding:
    """What is known of a merchant's standing, in the database's word, and since which version."""

    standing: str
    standing_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """What is known of a merchant; `standing` holds the database's word."""

    display_name: str
    standing: str


def record_of(row: Mapping[str, Any]) -> ServiceRecord:
    """Makes the record that a row of service_details holds."""
    plain = {name: row[name] for name in ServiceRecord.__slots__ if name not in _MADE_OF_COLUMNS}
    credential = tuple(
        row[name]
        for name in ("credential_kind", "credential_header_name", "sealed_credential", "credential_set_at")
    )
    forwarding = {field.name: row[field.name] for field in fields(Forwarding)}
    return ServiceRecord(
        **plain,
        tags=tuple(row["tags"]),
        price=price_from_json(json.loads(row["price"])),
        next_price=_next_price(row),
        metadata=metadata.from_row(row),
        forwarding=Forwarding(**{**forwarding, "cors_origins": tuple(row["cors_origins"])}),
        credential=UpstreamCredential(*credential) if credential[0] is not None else None,
        signing_key=_signing_key(row["signing_key_id"], row["signing_key_created_at"]),
        previous_signing_key=_signing_key(
            row["previous_signing_key_id"], row["previous_signing_key_created_at"]
        ),
        next_signing_key=_signing_key(
            row["next_signing_key_id"], row["next_signing_key_created_at"], row["next_signing_key_starts_at"]
        ),
        document=document_of(row["document"]),
    )


def price_version_of(row: Mapping[str, Any]) -> PriceVersion:
    """Makes the version that a row of price_versions holds."""
    columns = {field.name: row[field.name] for field in fields(PriceVersion)}
    return PriceVersion(**{**columns, "price": price_from_json(json.loads(row["price"]))})


def _next_price(row: Mapping[str, Any]) -> PriceVersion | None:
    if row["next_price_version_id"] is None:
        return None
    return PriceVersion(
        price_version_id=row["next_price_version_id"],
        service_id=row["service_id"],
        price=price_from_json(json.loads(row["next_price"])),
        starts_at=row["next_price_starts_at"],
        created_at=row["next_price_created_at"],
    )


def _signing_key(
    signing_key_id: UUID | None, created_at: datetime, starts_at: datetime | None = None
) -> SigningKey | None:
    return SigningKey(signing_key_id, created_at, starts_at) if signing_key_id is not None else None


def found(record: ServiceRecord | None) -> ServiceRecord:
    """The record. Raises NotFoundError service_not_found for None."""
    if record is None:
        raise service_not_found()
    return record


def service_not_found() -> NotFoundError:
    """One error for what isn't there, isn't the caller's, and isn't public: nobody can tell which."""
    return NotFoundError("service_not_found", "There is no such service.")
