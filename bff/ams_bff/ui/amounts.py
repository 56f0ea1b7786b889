"""Amounts of money as they are typed."""

import re
from decimal import Decimal

from ams_common.money import to_decimal, to_money
from ams_rating.currencies import MINOR_UNIT_DIGITS
from google.type.money_pb2 import Money

from ams_bff.ui.forms import Form

CURRENCIES = ("EUR", *sorted(MINOR_UNIT_DIGITS.keys() - {"EUR"}))
# For ui.select.
CURRENCY_CHOICES = [(code, code) for code in CURRENCIES]
_AMOUNT = re.compile(r"\d{1,12}(?:[.,]\d{1,9})?")


def amount_of(form: Form, amount: str, currency: str, example: str) -> Money | None:
    """The amount in the controls of these names; None for nothing, and for what is none, which is then an
    error of the field. `example` is what the error says an amount looks like."""
    text, code = form[amount], form[currency]
    if not text:
        form.refuse(amount, "is required")
        return None
    if not _AMOUNT.fullmatch(text) or code not in CURRENCIES:
        form.refuse(amount, f"must be a number such as {example}, with at most nine decimals")
        return None
    return to_money(Decimal(text.replace(",", ".")), code)


def typed(amount: Money) -> str:
    """The amount as somebody would have typed it."""
    return f"{to_decimal(amount).normalize():f}"
