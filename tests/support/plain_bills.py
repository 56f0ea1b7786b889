"""What raw events come to, slowly and plainly: decimals, event by event, no code of the services or of their
rating. docs/billing.md says the rules."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import NamedTuple

from ams.usage.v1.events_pb2 import ANSWERED, BROKEN_OFF, CLIENT_CLOSED, UsageEvent
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Packages, PerUnit, Price, Tier, Volume

DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}
COMMISSION = Decimal("0.10")


class Account(NamedTuple):
    """What a month's amount belongs to."""

    consumer_id: str
    service_id: str
    month: str


@dataclass
class Pricing:
    """The prices of a service, by the UTC day each begins with; the first is that of the days before too."""

    currency: str
    starts: dict[date, Price] = field(default_factory=dict)

    def start_of(self, day: date) -> date:
        return max((start for start in self.starts if start <= day), default=min(self.starts))


def month_amounts(
    events: Iterable[UsageEvent], pricings: Mapping[str, Pricing]
) -> dict[Account, tuple[str, Decimal]]:
    """The currency and the amount of each account. Events may come in any order and repeatedly."""
    charged: defaultdict[Account, defaultdict[date, list[UsageEvent]]]
    charged = defaultdict(lambda: defaultdict(list))
    for event in {event.event_id: event for event in events}.values():
        pricing, day = pricings[event.service_id], day_of(event)
        start = pricing.start_of(day)
        if not event.is_test and is_charged(pricing.starts[start].charge_rule, event):
            account = Account(event.consumer_id, event.service_id, f"{day:%Y-%m}")
            charged[account][start].append(event)
    return {
        account: (pricings[account.service_id].currency, _amount(starts, pricings[account.service_id]))
        for account, starts in charged.items()
    }


def day_of(event: UsageEvent) -> date:
    return datetime.fromtimestamp(event.timestamp.seconds, UTC).date()


def is_charged(rule: ChargeRule, event: UsageEvent) -> bool:
    if event.outcome in (ANSWERED, BROKEN_OFF):
        return event.status_code < 400 or (event.status_code < 500 and not rule.is_client_error_free)
    return event.outcome == CLIENT_CLOSED and not rule.is_abandoned_free


def _amount(starts: Mapping[date, list[UsageEvent]], pricing: Pricing) -> Decimal:
    """Of a month, whose events are told by the price that they have."""
    total, is_fee_due = Decimal(0), True
    with localcontext() as context:
        context.prec = 60
        for start in sorted(starts):
            events = starts[start]
            calls = sum(1 for event in events if not event.is_continuation)
            sent = sum(event.request_payload_size_bytes for event in events)
            received = sum(event.response_payload_size_bytes for event in events)
            if not (calls or sent or received):
                continue
            for part in pricing.starts[start].components:
                quantity = _quantity(part, calls, sent, received)
                total += rounded(_exact(part, quantity, is_fee_due), pricing.currency)
            is_fee_due = False
    return total


def rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-DIGITS[currency]), ROUND_HALF_EVEN)


def _quantity(part: Component, calls: int, sent: int, received: int) -> Decimal:
    match part.meter:
        case Meter.REQUEST_MEGABYTES:
            return Decimal(sent) / 10**6
        case Meter.RESPONSE_MEGABYTES:
            return Decimal(received) / 10**6
        case Meter.MEGABYTES:
            return Decimal(sent + received) / 10**6
    return Decimal(calls)


def _exact(part: Component, quantity: Decimal, is_fee_due: bool) -> Decimal:
    match part.scheme:
        case MonthlyFee(amount):
            return amount if is_fee_due else Decimal(0)
        case PerUnit(amount):
            return quantity * amount
        case Packages(size, amount):
            begun = 0
            while begun * size < quantity:
                begun += 1
            return begun * amount
        case Volume(tiers):
            if not quantity:
                return Decimal(0)
            tier = next(tier for tier in tiers if tier.up_to is None or quantity <= tier.up_to)
            return quantity * tier.unit_amount + tier.flat_amount
        case Graduated(tiers):
            return _graduated(tiers, quantity)
    raise AssertionError(part)


def _graduated(tiers: tuple[Tier, ...], quantity: Decimal) -> Decimal:
    total, start = Decimal(0), Decimal(0)
    for tier in tiers:
        end = quantity if tier.up_to is None else min(quantity, Decimal(tier.up_to))
        if end > start:
            total += (end - start) * tier.unit_amount + tier.flat_amount
            start = end
    return total
