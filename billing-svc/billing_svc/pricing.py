"""What a quantity costs under a price: exact decimals, rounded once (docs/architecture.md, Money)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from uuid import UUID

from ams_common.money import round_to_minor_unit

# A 64-bit quantity times NUMERIC(19, 9) has at most 38 digits; the rest is for sums of such.
_DIGITS = 80


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """What one billable request costs, in force from `starts_at`. `unit_price` has up to nine decimals."""

    price_version_id: UUID
    currency: str
    unit_price: Decimal
    starts_at: datetime


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Enough digits for any bill; running out of them raises decimal.InvalidOperation."""
    with localcontext(Context(prec=_DIGITS, traps=[InvalidOperation])):
        yield


def line_amount(quantity: int, unit_price: Decimal, currency: str) -> Decimal:
    """quantity × unit_price, rounded half-even to the currency's minor unit."""
    # Inexact is a trap here: a product cut to the context's digits would be rounded twice.
    with localcontext(Context(prec=_DIGITS, traps=[InvalidOperation, Inexact])):
        exact = quantity * unit_price
    with exact_arithmetic():
        return round_to_minor_unit(exact, currency)


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of `amounts`; their order changes nothing."""
    with exact_arithmetic():
        return sum(amounts, Decimal(0))
