"""Records as protobuf messages, and the database's words for the protos' enums."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ams.audit.v1.events_pb2 import FieldChange
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import discovery_service_pb2 as discovery_pb2
from ams.catalog.v1 import events_pb2, forwarding_pb2, metadata_pb2, pricing_pb2, revision_pb2
from ams.catalog.v1 import invitation_service_pb2 as invitation_pb2
from ams.identity.v1.events_pb2 import (
    STANDING_ACTIVE,
    STANDING_BLOCKED,
    STANDING_SUSPENDED,
    STANDING_UNSPECIFIED,
    Standing,
)
from ams_common.access import service_problem
from ams_common.categories import CATEGORIES
from ams_common.clock import to_timestamp
from ams_common.ids import uuid7
from ams_common.money import to_money
from ams_common.prices import price_message

from catalog_svc import lifecycle, metadata, price_summaries, revisions
from catalog_svc.differences import differences
from catalog_svc.documents import summary_message
from catalog_svc.forwarding import forwarding_message
from catalog_svc.invitations import Invitation, is_open
from catalog_svc.marketplace_store import MOST_COUNTED, FacetCount
from catalog_svc.records import (
    PriceVersion,
    ServiceRecord,
    SigningKey,
    UpstreamCredential,
    record_of,
)
from catalog_svc.revisions import Revision
from catalog_svc.tracing import tracing_in_force

STATUSES: dict[str, events_pb2.ServiceStatus.ValueType] = {
    "draft": events_pb2.DRAFT,
    "pending_approval": events_pb2.PENDING_APPROVAL,
    "active": events_pb2.ACTIVE,
    "rejected": events_pb2.REJECTED,
    "suspended": events_pb2.SERVICE_SUSPENDED,
    "retired": events_pb2.SERVICE_RETIRED,
}
TYPES: dict[str, events_pb2.ServiceType.ValueType] = {"api": events_pb2.API, "docker": events_pb2.DOCKER}
STANDINGS: dict[str, Standing.ValueType] = {
    "unspecified": STANDING_UNSPECIFIED,
    "active": STANDING_ACTIVE,
    "suspended": STANDING_SUSPENDED,
    "blocked": STANDING_BLOCKED,
}
REVISION_STATUSES: dict[str, revision_pb2.RevisionStatus.ValueType] = {
    revisions.PENDING: revision_pb2.REVISION_PENDING,
    revisions.APPROVED: revision_pb2.REVISION_APPROVED,
    revisions.REJECTED: revision_pb2.REVISION_REJECTED,
    revisions.WITHDRAWN: revision_pb2.REVISION_WITHDRAWN,
}
_CREDENTIAL_KINDS: dict[str, forwarding_pb2.CredentialKind.ValueType] = {
    "header": forwarding_pb2.HEADER,
    "basic": forwarding_pb2.BASIC,
    "bearer": forwarding_pb2.BEARER,
}
PRICE_MODELS: dict[str, pricing_pb2.PriceModel.ValueType] = {
    price_summaries.FREE: pricing_pb2.FREE,
    price_summaries.PER_REQUEST: pricing_pb2.PER_REQUEST,
    price_summaries.PER_MEGABYTE: pricing_pb2.PER_MEGABYTE,
    price_summaries.PER_EXECUTION: pricing_pb2.PER_EXECUTION,
    price_summaries.TIERED: pricing_pb2.TIERED,
    price_summaries.PACKAGES: pricing_pb2.PACKAGES,
    price_summaries.MONTHLY_FEE: pricing_pb2.MONTHLY_FEE,
}
_TYPE_LABELS = {"api": "APIs", "docker": "Docker images"}
_PRICE_MODEL_WORDS = {value: word for word, value in PRICE_MODELS.items()}
_STATUS_WORDS = {value: word for word, value in STATUSES.items()}
_TYPE_WORDS = {value: word for word, value in TYPES.items()}
_STANDING_WORDS = {value: word for word, value in STANDINGS.items()}


def status_word(status: events_pb2.ServiceStatus.ValueType) -> str | None:
    """What the database calls the status; None for UNSPECIFIED."""
    return _STATUS_WORDS.get(status)


def type_word(service_type: events_pb2.ServiceType.ValueType) -> str | None:
    """What the database calls the type; None for UNSPECIFIED."""
    return _TYPE_WORDS.get(service_type)


def price_model_word(model: pricing_pb2.PriceModel.ValueType) -> str | None:
    """What the database calls the price model; None for UNSPECIFIED."""
    return _PRICE_MODEL_WORDS.get(model)


def standing_word(standing: Standing.ValueType) -> str:
    """What the database calls the standing. Raises ValueError for one that this release doesn't know."""
    if standing not in _STANDING_WORDS:
        raise ValueError(f"unknown standing {standing}")
    return _STANDING_WORDS[standing]


def is_in_marketplace(record: ServiceRecord) -> bool:
    """Whether consumers see the service, and can ask for it."""
    return service_problem(STATUSES[record.status], STANDINGS[record.merchant_standing]) is None


def service_message(record: ServiceRecord, revision: Revision | None = None) -> pb.Service:
    """The service as its merchant and the admins see it, with its newest revision while that matters."""
    message = pb.Service(
        service_id=str(record.service_id),
        merchant_id=str(record.merchant_id),
        merchant_name=record.merchant_name,
        slug=record.slug,
        name=record.name,
        description=record.description,
        type=TYPES[record.type],
        status=STATUSES[record.status],
        base_url=record.base_url,
        documentation_url=record.documentation_url,
        version=record.version,
        tags=record.tags,
        price=price_message(record.price),
        rate_limit_per_minute=record.rate_limit_per_minute,
        additional_info=record.additional_info,
        rejection_reason=record.rejection_reason,
        created_at=to_timestamp(record.created_at),
        updated_at=to_timestamp(record.updated_at),
        changeable_fields=sorted(lifecycle.changeable_fields(record)),
        is_submittable=record.status in lifecycle.TRANSITIONS["submit"],
        possible_actions=lifecycle.possible_actions(record),
        suspension_reason=record.suspension_reason,
        **metadata.message_fields(record.metadata),
        merchant_standing=STANDINGS[record.merchant_standing],
        forwarding=forwarding_message(record.forwarding),
        upstream_credential=credential_message(record.credential),
        signing_keys=[
            signing_key_message(key)
            for key in (record.next_signing_key, record.signing_key, record.previous_signing_key)
            if key is not None
        ],
        openapi_document=summary_message(record.document) if record.document is not None else None,
    )
    if revision is not None and revision.status in (revisions.PENDING, revisions.REJECTED):
        message.revision.CopyFrom(revision_message(record, revision))
    return message


def revision_message(record: ServiceRecord, revision: Revision) -> revision_pb2.ServiceRevision:
    """The revision of a service, while it waits against the service as it is in `record`."""
    return revision_pb2.ServiceRevision(
        revision_id=str(revision.revision_id),
        service_id=str(revision.service_id),
        number=revision.number,
        status=REVISION_STATUSES[revision.status],
        changes=changes_of(record, revision) if revision.changes is None else revision.changes,
        reason=revision.reason,
        version=revision.version,
        created_at=to_timestamp(revision.created_at),
        updated_at=to_timestamp(revision.updated_at),
        decided_at=to_timestamp(revision.decided_at),
        service_name=record.name,
        merchant_id=str(record.merchant_id),
        merchant_name=record.merchant_name,
        service_type=TYPES[record.type],
    )


def changes_of(record: ServiceRecord, revision: Revision) -> list[FieldChange]:
    """What the revision would change of the service as it is."""
    after = revisions.proposed(record, revision, revision.updated_at)
    return differences(service_message(record), service_message(after), revision.fields)


def credential_message(credential: UpstreamCredential | None) -> forwarding_pb2.UpstreamCredential:
    """The credential without its value, which nobody is ever shown."""
    if credential is None:
        return forwarding_pb2.UpstreamCredential()
    return forwarding_pb2.UpstreamCredential(
        header_name=credential.header_name,
        set_at=to_timestamp(credential.set_at),
        kind=_CREDENTIAL_KINDS[credential.kind],
    )


def signing_key_message(key: SigningKey) -> forwarding_pb2.SigningKey:
    return forwarding_pb2.SigningKey(
        signing_key_id=str(key.signing_key_id),
        created_at=to_timestamp(key.created_at),
        starts_at=to_timestamp(key.starts_at),
    )


def marketplace_message(record: ServiceRecord) -> pb.MarketplaceService:
    """The service as everybody sees it: all of its metadata (FR2-MERCH-01), but where its API lies."""
    typical = price_summaries.summary_of(record.price)
    return pb.MarketplaceService(
        service_id=str(record.service_id),
        merchant_id=str(record.merchant_id),
        merchant_name=record.merchant_name,
        slug=record.slug,
        name=record.name,
        description=record.description,
        type=TYPES[record.type],
        documentation_url=record.documentation_url,
        version=record.version,
        tags=record.tags,
        price=price_message(record.price),
        rate_limit_per_minute=record.rate_limit_per_minute,
        additional_info=record.additional_info,
        published_at=to_timestamp(record.published_at),
        forwarding=forwarding_message(record.forwarding),
        next_price=price_version_message(record.next_price) if record.next_price is not None else None,
        typical_month=to_money(typical.amount, typical.currency),
        openapi_document=summary_message(record.document) if record.document is not None else None,
        **metadata.message_fields(record.metadata),
    )


def facets_message(counts: Sequence[FacetCount]) -> discovery_pb2.MarketplaceFacets:
    """The counts as the contract has them: an enum's values by their names there, with words for people."""
    message = discovery_pb2.MarketplaceFacets(is_partial=any(each.count >= MOST_COUNTED for each in counts))
    for each in counts:
        value, label = each.value, each.label or each.value
        match each.facet:
            case "total":
                message.total = each.count
                continue
            case "type":
                value, label, values = (
                    events_pb2.ServiceType.Name(TYPES[value]),
                    _TYPE_LABELS[value],
                    message.types,
                )
            case "price_model":
                value = pricing_pb2.PriceModel.Name(PRICE_MODELS[value])
                label, values = value.replace("_", " ").capitalize(), message.price_models
            case "category":
                label = CATEGORIES[value].name if value in CATEGORIES else value
                values = message.categories
            case "tag":
                values = message.tags
            case "merchant":
                values = message.merchants
            case _:
                values = message.currencies
        values.add(value=value, label=label, count=each.count)
    return message


def invitation_message(invitation: Invitation, now: datetime) -> invitation_pb2.Invitation:
    return invitation_pb2.Invitation(
        invitation_id=str(invitation.invitation_id),
        service_id=str(invitation.service_id),
        note=invitation.note,
        max_uses=invitation.max_uses,
        uses=invitation.uses,
        created_at=to_timestamp(invitation.created_at),
        expires_at=to_timestamp(invitation.expires_at),
        revoked_at=to_timestamp(invitation.revoked_at),
        is_open=is_open(invitation, now),
    )


CATEGORIES_MESSAGE = pb.ListCategoriesResponse(
    categories=[
        metadata_pb2.Category(slug=each.slug, name=each.name, description=each.description)
        for each in CATEGORIES.values()
    ]
)


def price_version_message(version: PriceVersion) -> pricing_pb2.PriceVersion:
    return pricing_pb2.PriceVersion(
        price_version_id=str(version.price_version_id),
        service_id=str(version.service_id),
        price=price_message(version.price),
        starts_at=to_timestamp(version.starts_at),
        created_at=to_timestamp(version.created_at),
        canceled_at=to_timestamp(version.canceled_at),
    )


def service_name_of(row: Mapping[str, Any]) -> pb.ServiceName:
    return pb.ServiceName(
        service_id=str(row["service_id"]),
        name=row["name"],
        slug=row["slug"],
        merchant_id=str(row["merchant_id"]),
        merchant_name=row["merchant_name"],
    )


def snapshot_message(record: ServiceRecord) -> events_pb2.ServiceSnapshot:
    """What the gateways hold of the service: all that a call needs, and no more."""
    snapshot = events_pb2.ServiceSnapshot(
        service_id=str(record.service_id),
        slug=record.slug,
        merchant_id=str(record.merchant_id),
        status=STATUSES[record.status],
        merchant_standing=STANDINGS[record.merchant_standing],
        base_url=record.base_url,
        rate_limit_per_minute=record.rate_limit_per_minute,
        price_version_id=str(record.price_version_id or ""),
        type=TYPES[record.type],
        forwarding=forwarding_message(record.forwarding),
        price=price_message(record.price),
        tracing=tracing_in_force(
            record.metadata, record.price, record.next_price.price if record.next_price is not None else None
        ),
    )
    if record.credential is not None:
        snapshot.credential.header_name = record.credential.header_name
        snapshot.credential.sealed_value = record.credential.sealed_value
    if record.signing_key is not None and record.sealed_signing_key is not None:
        snapshot.signing_key.signing_key_id = str(record.signing_key.signing_key_id)
        snapshot.signing_key.sealed_secret = record.sealed_signing_key
    following = record.next_signing_key
    if following is not None and following.starts_at is not None:
        snapshot.next_signing_key.signing_key_id = str(following.signing_key_id)
        snapshot.next_signing_key.sealed_secret = record.sealed_next_signing_key or b""
        snapshot.next_signing_key.starts_at.FromDatetime(following.starts_at)
    return snapshot


def snapshot_of(row: Mapping[str, Any]) -> events_pb2.ServiceSnapshot:
    """The snapshot of the service in a row, under the version that it has there."""
    snapshot = snapshot_message(record_of(row))
    snapshot.version = row["snapshot_version"]
    return snapshot


def service_changed_event(record: ServiceRecord, now: datetime) -> events_pb2.CatalogEvent:
    """The event by which the other services hear of the service's present state."""
    changed = events_pb2.ServiceChanged(
        service_id=str(record.service_id),
        merchant_id=str(record.merchant_id),
        slug=record.slug,
        name=record.name,
        type=TYPES[record.type],
        status=STATUSES[record.status],
    )
    return events_pb2.CatalogEvent(
        event_id=str(uuid7()), occurred_at=to_timestamp(now), service_changed=changed
    )


def price_version_event(version: PriceVersion, now: datetime) -> events_pb2.CatalogEvent:
    """The event by which the other services hear of a price that was made or canceled."""
    return events_pb2.CatalogEvent(
        event_id=str(uuid7()),
        occurred_at=to_timestamp(now),
        price_version_changed=price_version_message(version),
    )
