"""Prices: what a merchant may ask."""

from decimal import Decimal

from ams.catalog.v1 import pricing_pb2
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.money import MINOR_UNIT_DIGITS, to_decimal

from catalog_svc.records import PriceTerms

MAX_AMOUNT = Decimal(1_000_000)
PER_REQUEST = "per_request"


def terms_of(price: pricing_pb2.Price) -> PriceTerms:
    """What is stored of a price. Raises InvalidArgumentError price_invalid."""
    if price.WhichOneof("model") != PER_REQUEST:
        raise _invalid("price", "needs a price model")
    money = price.per_request.amount
    if money.currency_code not in MINOR_UNIT_DIGITS:
        known = ", ".join(sorted(MINOR_UNIT_DIGITS))
        raise _invalid("price.perRequest.amount.currencyCode", f"must be one of {known}")
    try:
        amount = to_decimal(money)
    except ValueError as error:
        raise _invalid("price.perRequest.amount", str(error)) from None
    if not 0 <= amount <= MAX_AMOUNT:
        raise _invalid("price.perRequest.amount", f"must be from 0 to {MAX_AMOUNT:,}")
    return PriceTerms(PER_REQUEST, money.currency_code, amount)


def _invalid(field: str, description: str) -> InvalidArgumentError:
    violation = FieldViolation(field, description)
    return InvalidArgumentError("price_invalid", f"The price {description}.", [violation])
