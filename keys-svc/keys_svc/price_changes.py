"""What a consumer is told of a service's new price, and when that is worth telling. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from ams.catalog.v1.pricing_pb2 import PriceVersion as PriceVersionMessage
from ams.identity.v1.notifications_pb2 import Notification, PriceChangeAhead
from ams_common.clock import from_timestamp, to_timestamp
from ams_common.prices import price_from_message
from ams_rating.price_words import describe_charge_rule, describe_price
from ams_rating.prices import Price

# For ever the same: a notification is told once for its id.
_NOTIFICATIONS = UUID("b7f3a1b4-6a53-5d0c-9a58-0c2c6d1f4e21")
# Whoever was away tells late rather than never, but nobody is told of long ago when a topic is read anew.
_LATEST = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    service_id: UUID
    name: str
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    price_version_id: UUID
    service_id: UUID
    price: Price
    starts_at: datetime
    canceled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A row of price_announcements; `message` is a serialised PriceChangeAhead."""

    announcement_id: int
    price_version_id: UUID
    service_id: UUID
    is_canceled: bool
    message: bytes
    announced_at: datetime
    told_through: UUID


def version_of(message: PriceVersionMessage) -> PriceVersion:
    """Raises ValueError for what isn't a price version."""
    return PriceVersion(
        price_version_id=UUID(message.price_version_id),
        service_id=UUID(message.service_id),
        price=price_from_message(message.price),
        starts_at=from_timestamp(message.starts_at),
        canceled_at=from_timestamp(message.canceled_at) if message.HasField("canceled_at") else None,
    )


def is_worth_telling(version: PriceVersion, now: datetime) -> bool:
    return version.starts_at > now - _LATEST


def price_change(service: Service, version: PriceVersion, before: Price) -> PriceChangeAhead:
    """What everybody with access to the service is told of a version, `before` being the price before it."""
    return PriceChangeAhead(
        service_name=service.name,
        service_slug=service.slug,
        starts_on=version.starts_at.date().isoformat(),
        price_before=_in_words(before),
        price_then=_in_words(version.price),
        is_canceled=version.canceled_at is not None,
    )


def notification(announcement: Announcement, consumer_id: UUID) -> Notification:
    """The announcement for one consumer: the same one, however often it is made."""
    cause = f"{announcement.price_version_id}|{consumer_id}|{announcement.is_canceled}"
    return Notification(
        notification_id=str(uuid5(_NOTIFICATIONS, cause)),
        user_id=str(consumer_id),
        occurred_at=to_timestamp(announcement.announced_at),
        price_change_ahead=PriceChangeAhead.FromString(announcement.message),
    )


def _in_words(price: Price) -> str:
    """A sentence a line. What isn't charged belongs to it: it may be all that changes."""
    return "\n".join([*describe_price(price), *describe_charge_rule(price)])
