"""Spend caps: what calls may cost in a UTC month, as their consumer wants it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.money import to_decimal, to_money
from ams_rating.currencies import MINOR_UNIT_DIGITS
from google.type.money_pb2 import Money

# What gateways can count exactly: up to 2^53 thousand-millionths.
MAX_AMOUNT = Decimal(9_000_000)


@dataclass(frozen=True, slots=True)
class SpendCap:
    """`currency` is an ISO 4217 code."""

    currency: str
    amount: Decimal

    def to_money(self) -> Money:
        return to_money(self.amount, self.currency)

    def __str__(self) -> str:
        return f"{self.amount.normalize():f} {self.currency}"


def cap_of(money: Money, field: str) -> SpendCap:
    """The cap that a request's `field` asks for. Raises InvalidArgumentError spend_cap_invalid."""
    if money.currency_code not in MINOR_UNIT_DIGITS:
        raise _invalid(f"{field}.currencyCode", "must be a currency of ISO 4217")
    try:
        amount = to_decimal(money)
    except ValueError as error:
        raise _invalid(field, str(error)) from None
    # A cap of nothing would be a key that opens nothing: that is what revoking is for.
    if not 0 < amount <= MAX_AMOUNT:
        raise _invalid(field, f"must be more than 0 and at most {MAX_AMOUNT:,}")
    return SpendCap(money.currency_code, amount)


def cap_in(row: Mapping[str, Any], of: str = "") -> SpendCap | None:
    """The cap in a row of keys or consumers. `of`: what the columns' names begin with."""
    currency = row[f"{of}spend_cap_currency"]
    return None if currency is None else SpendCap(currency, row[f"{of}spend_cap_amount"])


def columns_of(cap: SpendCap | None) -> dict[str, Any]:
    """What a row holds of the cap, by the queries' names."""
    currency, amount = (cap.currency, cap.amount) if cap is not None else (None, None)
    return {"spend_cap_currency": currency, "spend_cap_amount": amount}


def _invalid(field: str, description: str) -> InvalidArgumentError:
    violation = FieldViolation(field, description)
    return InvalidArgumentError("spend_cap_invalid", f"The spend cap {description}.", [violation])
