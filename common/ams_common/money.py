"""Money: google.type.Money on the wire, Decimal in Python, NUMERIC in PostgreSQL, never a float."""

from decimal import Decimal

from google.type.money_pb2 import Money

_NANO = Decimal(1).scaleb(-9)


def to_decimal(money: Money) -> Decimal:
    """The amount, exact. Raises ValueError when units and nanos disagree in sign or nanos overflow."""
    if abs(money.nanos) > 999_999_999 or (money.units > 0 > money.nanos) or (money.units < 0 < money.nanos):
        raise ValueError("units and nanos must agree in sign, and nanos stay under a whole unit")
    amount: Decimal = Decimal(money.units) + money.nanos * _NANO
    return amount


def to_money(amount: Decimal, currency: str) -> Money:
    """The wire form. Raises ValueError when the amount has more than nine decimals."""
    units = int(amount)
    nanos = (amount - units).scaleb(9)
    if nanos != int(nanos):
        raise ValueError("an amount has at most nine decimals")
    return Money(currency_code=currency, units=units, nanos=int(nanos))
