"""Prices: what a merchant may ask, and from when on. Pure: `now` is an argument."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from ams.catalog.v1 import pricing_pb2
from ams_common.errors import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from ams_common.prices import PriceError, price_from_message
from ams_rating.prices import Meter, Price

from catalog_svc.records import PriceVersion, ServiceRecord

# A service's list has room for them, and for those before.
MAX_ANNOUNCED = 24
MAX_LISTED = 200
_LONGEST_AHEAD = timedelta(days=366)
_UNDERSCORE = re.compile(r"_([a-z])")
# By type: what is never counted of such a service, so that a price for it would be free by mistake.
_UNCOUNTED = {"api": frozenset({Meter.EXECUTIONS})}


def price_of(message: pricing_pb2.Price, service_type: str) -> Price:
    """The price that a request asks for. Raises InvalidArgumentError price_invalid, with every field that is
    wrong by its JSON name."""
    try:
        price = price_from_message(message)
    except PriceError as error:
        raise _invalid(
            [FieldViolation(f"price.{_json_path(each.where)}", each.description) for each in error.problems]
        ) from None
    uncounted = _UNCOUNTED.get(service_type, frozenset())
    violations = [
        FieldViolation(f"price.components[{index}].meter", "isn't counted of such a service")
        for index, component in enumerate(price.components)
        if component.meter in uncounted
    ]
    if violations:
        raise _invalid(violations)
    return price


def start_of(starts_on: str, now: datetime) -> datetime:
    """The UTC midnight at which a price begins that is to begin on this day.

    Raises InvalidArgumentError price_start_invalid for a day that has begun, or is more than a year
    ahead.
    """
    starts_at = datetime.combine(date.fromisoformat(starts_on), time(), UTC)
    problem = None
    if starts_at <= now:
        problem = "must be a day that hasn't begun in UTC"
    elif starts_at > now + _LONGEST_AHEAD:
        problem = "must be within a year"
    if problem is not None:
        violation = FieldViolation("startsOn", problem)
        raise InvalidArgumentError(
            "price_start_invalid", f"The day a price starts on {problem}.", [violation]
        )
    return starts_at


def first_version(record: ServiceRecord, price_version_id: UUID, now: datetime) -> PriceVersion:
    """The draft's price in force, from the first approval on."""
    return PriceVersion(
        price_version_id=price_version_id,
        service_id=record.service_id,
        price=record.price,
        starts_at=now,
        created_at=now,
    )


def schedule(
    record: ServiceRecord,
    announced: Sequence[PriceVersion],
    price: Price,
    starts_at: datetime,
    price_version_id: UUID,
    now: datetime,
) -> tuple[PriceVersion | None, PriceVersion]:
    """The version that gives way, which was to start at the same time, and the new one.

    Raises FailedPreconditionError price_not_started for a service that never was in the marketplace, or
    too_many_prices.
    """
    if record.price_version_id is None:
        raise FailedPreconditionError(
            "price_not_started",
            "This service has no price in force yet. Change the price of its draft instead.",
        )
    before = next((version for version in announced if version.starts_at == starts_at), None)
    if before is None and len(announced) >= MAX_ANNOUNCED:
        raise FailedPreconditionError(
            "too_many_prices", f"At most {MAX_ANNOUNCED} prices can be announced. Cancel one first."
        )
    version = PriceVersion(
        price_version_id=price_version_id,
        service_id=record.service_id,
        price=price,
        starts_at=starts_at,
        created_at=now,
    )
    return before, version


def check_cancelable(version: PriceVersion | None, now: datetime) -> PriceVersion:
    """The version. Raises NotFoundError price_not_found, or FailedPreconditionError price_started or
    price_canceled."""
    if version is None:
        raise NotFoundError("price_not_found", "This service has no such price.")
    if version.canceled_at is not None:
        raise FailedPreconditionError("price_canceled", "This price was canceled already.")
    if version.starts_at <= now:
        raise FailedPreconditionError(
            "price_started", "This price has started. Schedule another one in its place."
        )
    return version


def _json_path(where: str) -> str:
    """How JSON names a field: "components[0].perUnit" for "components[0].per_unit"."""
    return _UNDERSCORE.sub(lambda match: match[1].upper(), where)


def _invalid(violations: Sequence[FieldViolation]) -> InvalidArgumentError:
    first = violations[0]
    message = f"The price can't be used: {first.field} {first.description}."
    return InvalidArgumentError("price_invalid", message, violations)
