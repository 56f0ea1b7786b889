"""The platform's commission: its rate, the month a rate holds for, and what it takes of a subtotal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ams_common.money import round_to_minor_unit

from billing_svc.pricing import exact_arithmetic

_RATE = re.compile(r"0(?:\.[0-9]{1,6})?")

# Before all usage: the rate that the deployment began with.
FIRST_MONTH = "2000-01"


@dataclass(frozen=True, slots=True)
class CommissionRate:
    """A fraction, 0 <= rate < 1, in force from the month `starts_in` until the next rate's."""

    rate: Decimal
    starts_in: str
    created_at: datetime


def parse_rate(text: str) -> Decimal:
    """A plain decimal fraction such as "0.125". Raises ValueError."""
    if not _RATE.fullmatch(text):
        raise ValueError(
            "must be a decimal fraction from 0 to below 1 with at most 6 decimals, such as 0.125"
        )
    return Decimal(text)


def format_rate(rate: Decimal) -> str:
    """The shortest form: "0.1", never "0.100000" or "1E-6"."""
    return format(rate.normalize(), "f")


def rate_for(period: str, rates: Sequence[CommissionRate]) -> Decimal | None:
    """The rate in force in a month, or None when none has begun by then."""
    begun = [rate for rate in rates if rate.starts_in <= period]
    return max(begun, key=lambda rate: rate.starts_in).rate if begun else None


def commission_of(subtotal: Decimal, rate: Decimal, currency: str) -> Decimal:
    """AMS's part of `subtotal`, rounded half-even to the currency's minor unit."""
    # Rounded once, of the sum: the roundings of many lines would add up.
    with exact_arithmetic():
        return round_to_minor_unit(subtotal * rate, currency)


def total_of(subtotal: Decimal, commission: Decimal) -> Decimal:
    """What is due to the merchant of a subtotal."""
    with exact_arithmetic():
        return subtotal - commission
