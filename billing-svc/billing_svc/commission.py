"""The platform's commission: its rate, the month a rate holds for, and what it takes of a subtotal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation, localcontext

from ams_rating.currencies import round_to_minor_unit
from ams_rating.rate import exact_arithmetic

_RATE = re.compile(r"0(?:\.[0-9]{1,6})?")

# Before all usage: the rate that the deployment began with.
FIRST_MONTH = "2000-01"
_DIGITS = 80


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
    # Rounded once, of the sum: the roundings of many lines would add up. Rounding traps nothing, for it cuts.
    with exact_arithmetic():
        exact = subtotal * rate
    return _rounded(exact, currency)


def commission_credited(
    credited_before: Decimal, amount: Decimal, commission_before: Decimal, rate: Decimal, currency: str
) -> Decimal:
    """The commission that a credit of `amount` gives back, after credits of `credited_before` have given
    back `commission_before`: what is credited bit by bit gives back the invoice's commission, exactly."""
    with exact_arithmetic():
        return commission_of(credited_before + amount, rate, currency) - commission_before


def _rounded(exact: Decimal, currency: str) -> Decimal:
    with localcontext(Context(prec=_DIGITS, traps=[InvalidOperation])):
        return round_to_minor_unit(exact, currency)
