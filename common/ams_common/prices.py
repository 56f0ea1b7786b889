"""Prices between messages and the rules that rate them (ams_rating)."""

from collections.abc import Sequence
from decimal import Decimal

from ams.catalog.v1 import pricing_pb2 as pb
from ams_rating import prices
from ams_rating.charging import ChargeRule
from google.type.money_pb2 import Money

from ams_common.money import to_decimal, to_money

_METERS = {
    pb.REQUESTS: prices.Meter.REQUESTS,
    pb.REQUEST_MEGABYTES: prices.Meter.REQUEST_MEGABYTES,
    pb.RESPONSE_MEGABYTES: prices.Meter.RESPONSE_MEGABYTES,
    pb.MEGABYTES: prices.Meter.MEGABYTES,
    pb.EXECUTIONS: prices.Meter.EXECUTIONS,
}
METER_VALUES = {meter: value for value, meter in _METERS.items()}


class PriceError(ValueError):
    """A message that is no price: `problems` say where and why."""

    def __init__(self, problems: Sequence[prices.PriceProblem]) -> None:
        super().__init__("; ".join(f"{problem.where} {problem.description}" for problem in problems))
        self.problems = tuple(problems)


def price_from_message(message: pb.Price) -> prices.Price:
    """The price that can be billed. Raises PriceError for what can't, with all that is wrong with it."""
    reader = _Reader(message.currency_code)
    price = prices.Price(
        currency=message.currency_code,
        components=tuple(
            reader.component(f"components[{index}]", part) for index, part in enumerate(message.components)
        ),
        charge_rule=ChargeRule(
            message.charge_rule.is_client_error_free, message.charge_rule.is_abandoned_free
        ),
    )
    problems = reader.problems or prices.problems_of(price)
    if problems:
        raise PriceError(problems)
    return price


def price_message(price: prices.Price) -> pb.Price:
    """A good price as a message."""
    rule = price.charge_rule
    return pb.Price(
        currency_code=price.currency,
        components=[_component(component, price.currency) for component in price.components],
        charge_rule=pb.ChargeRule(
            is_client_error_free=rule.is_client_error_free, is_abandoned_free=rule.is_abandoned_free
        ),
    )


class _Reader:
    """Reads components and collects what is wrong with them."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self.problems: list[prices.PriceProblem] = []

    def component(self, where: str, message: pb.PriceComponent) -> prices.Component:
        meter = _METERS.get(message.meter)
        if message.meter and meter is None:
            self._problem(f"{where}.meter", "is not known")
        return prices.Component(meter, self._scheme(where, message))

    def _scheme(self, where: str, message: pb.PriceComponent) -> prices.Scheme:
        kind = message.WhichOneof("scheme")
        if kind == "monthly_fee":
            return prices.MonthlyFee(self._amount(f"{where}.monthly_fee.amount", message.monthly_fee.amount))
        if kind == "packages":
            amount = self._amount(f"{where}.packages.amount", message.packages.amount)
            return prices.Packages(message.packages.size, amount)
        if kind == "graduated":
            return prices.Graduated(self._tiers(f"{where}.graduated.tiers", message.graduated.tiers))
        if kind == "volume":
            return prices.Volume(self._tiers(f"{where}.volume.tiers", message.volume.tiers))
        if kind is None:
            self._problem(where, "needs a scheme")
        return prices.PerUnit(self._amount(f"{where}.per_unit.amount", message.per_unit.amount))

    def _tiers(self, where: str, tiers: Sequence[pb.Tier]) -> tuple[prices.Tier, ...]:
        return tuple(
            prices.Tier(
                tier.up_to or None,
                self._amount(f"{where}[{index}].unit_amount", tier.unit_amount),
                self._amount(f"{where}[{index}].flat_amount", tier.flat_amount),
            )
            for index, tier in enumerate(tiers)
        )

    def _amount(self, where: str, money: Money) -> Decimal:
        if money.currency_code not in ("", self._currency):
            self._problem(where, "must be in the price's currency")
        try:
            return to_decimal(money)
        except ValueError as error:
            self._problem(where, str(error))
            return Decimal(0)

    def _problem(self, where: str, description: str) -> None:
        self.problems.append(prices.PriceProblem(where, description))


def _component(component: prices.Component, currency: str) -> pb.PriceComponent:
    message = pb.PriceComponent()
    if component.meter is not None:
        message.meter = METER_VALUES[component.meter]
    match component.scheme:
        case prices.PerUnit(amount):
            message.per_unit.amount.CopyFrom(to_money(amount, currency))
        case prices.MonthlyFee(amount):
            message.monthly_fee.amount.CopyFrom(to_money(amount, currency))
        case prices.Packages(size, amount):
            message.packages.size = size
            message.packages.amount.CopyFrom(to_money(amount, currency))
        case prices.Graduated(tiers):
            message.graduated.tiers.extend(_tier(tier, currency) for tier in tiers)
        case prices.Volume(tiers):
            message.volume.tiers.extend(_tier(tier, currency) for tier in tiers)
    return message


def _tier(tier: prices.Tier, currency: str) -> pb.Tier:
    return pb.Tier(
        up_to=tier.up_to or 0,
        unit_amount=to_money(tier.unit_amount, currency),
        flat_amount=to_money(tier.flat_amount, currency),
    )
