"""What a consumer's usage of a merchant's services comes to, month by month. Pure.

Invoices, drafts, spend and revenue are all made of these lines, so that they can't differ.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from ams_rating.charging import ChargeClass
from ams_rating.price_words import describe, describe_price
from ams_rating.prices import Meter, Price
from ams_rating.rate import Counts, RatedComponent, Step, charged_counts, exact_arithmetic, rate

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """A price, and whose it is."""

    price_version_id: UUID
    price: Price


@dataclass(frozen=True, slots=True)
class Usage:
    """What a consumer has used of a service in a month under one price version, or a part of it: from
    `first_day` to `last_day`, both with. `service_name` and `version` are None while their events are on the
    way."""

    merchant_id: UUID
    consumer_id: UUID
    service_id: UUID
    service_name: str | None
    month: str
    first_day: date
    last_day: date
    version: PriceVersion | None
    counts: Mapping[ChargeClass, Counts]


class LineKey(NamedTuple):
    """What is rated as a whole: a component of a price version, in a month. Each invoice bills what has come
    to it since the one before."""

    service_id: UUID
    month: str
    price_version_id: UUID
    component: int


@dataclass(frozen=True, slots=True)
class RatedLine:
    """What a key's whole usage comes to so far. `counts` is the charged usage, of all components alike."""

    key: LineKey
    service_name: str
    currency: str
    first_day: date
    last_day: date
    meter: Meter | None
    description: str
    quantity: Decimal
    steps: tuple[Step, ...]
    rated_amount: Decimal
    counts: Counts


@dataclass(frozen=True, slots=True)
class RatingProblem:
    """Usage that can't be rated yet: `code` is price_unknown or service_unknown."""

    merchant_id: UUID
    consumer_id: UUID
    service_id: UUID
    code: str


@dataclass(frozen=True, slots=True)
class Rated:
    """The lines by service and time, and what of the usage is in none of them."""

    lines: tuple[RatedLine, ...]
    problems: tuple[RatingProblem, ...]


def rate_usage(usages: Iterable[Usage]) -> Rated:
    """Rates usage of one merchant and consumer: all of each month that is given, in any order."""
    months: defaultdict[tuple[UUID, str], list[Usage]] = defaultdict(list)
    problems = set()
    for usage in _merged(usages):
        if (problem := _problem_of(usage)) is not None:
            problems.add(problem)
        else:
            months[usage.service_id, usage.month].append(usage)
    lines = [line for month in months.values() for line in _rate_month(month)]
    return Rated(
        tuple(sorted(lines, key=line_order)),
        tuple(sorted(problems, key=lambda problem: (problem.service_id, problem.code))),
    )


def line_order(line: RatedLine) -> tuple[object, ...]:
    """By name and time. Two services may have one name: ids make the order the same every time."""
    key = line.key
    return line.service_name, key.service_id, key.month, line.first_day, key.price_version_id, key.component


def totals_by_currency(lines: Iterable[RatedLine]) -> dict[str, Decimal]:
    """The sum of what the lines of each currency were rated at, in the order of their codes."""
    totals: dict[str, Decimal] = {}
    with exact_arithmetic():
        for line in lines:
            totals[line.currency] = totals.get(line.currency, ZERO) + line.rated_amount
    return dict(sorted(totals.items()))


def _merged(usages: Iterable[Usage]) -> Iterable[Usage]:
    """One for each month of a service and price version, whatever parts the usage comes in."""
    merged: dict[tuple[UUID, str, UUID | None], Usage] = {}
    for usage in usages:
        version_id = usage.version.price_version_id if usage.version else None
        key = (usage.service_id, usage.month, version_id)
        known = merged.get(key)
        merged[key] = usage if known is None else replace(known, counts=_sum(known.counts, usage.counts))
    return merged.values()


def _sum(
    one: Mapping[ChargeClass, Counts], other: Mapping[ChargeClass, Counts]
) -> Mapping[ChargeClass, Counts]:
    return {
        kind: one.get(kind, Counts()).plus(other.get(kind, Counts())) for kind in one.keys() | other.keys()
    }


def _problem_of(usage: Usage) -> RatingProblem | None:
    # What no price charges needs none: it may even be of a service that never came to be.
    if all(kind is ChargeClass.UNCHARGED for kind in usage.counts):
        return None
    code = ""
    if usage.version is None:
        code = "price_unknown"
    elif usage.service_name is None:
        code = "service_unknown"
    return RatingProblem(usage.merchant_id, usage.consumer_id, usage.service_id, code) if code else None


def _rate_month(usages: Sequence[Usage]) -> list[RatedLine]:
    lines: list[RatedLine] = []
    is_fee_due = True
    for usage in sorted(usages, key=lambda usage: usage.first_day):
        if usage.version is None or usage.service_name is None:
            continue  # nothing that could be charged: see _problem_of()
        counts = charged_counts(usage.version.price, usage.counts)
        if counts == Counts():
            continue
        lines += _lines(usage, usage.version, usage.service_name, counts, is_fee_due)
        # A month has one fee: that of the first version under which anything was charged.
        is_fee_due = False
    return lines


def _lines(
    usage: Usage, version: PriceVersion, service_name: str, counts: Counts, is_fee_due: bool
) -> list[RatedLine]:
    price = version.price
    # A free service has a line too: it says what was used.
    rated = rate(price, counts, is_fee_due=is_fee_due) or (_free(counts),)
    words = _descriptions(price)
    return [
        RatedLine(
            key=LineKey(usage.service_id, usage.month, version.price_version_id, part.component),
            service_name=service_name,
            currency=price.currency,
            first_day=usage.first_day,
            last_day=usage.last_day,
            meter=part.meter,
            description=words[part.component],
            quantity=part.quantity,
            steps=part.steps,
            rated_amount=part.amount,
            counts=counts,
        )
        for part in rated
    ]


def _free(counts: Counts) -> RatedComponent:
    return RatedComponent(0, Meter.REQUESTS, Decimal(counts.requests), (), ZERO)


@lru_cache(maxsize=10_000)
def _descriptions(price: Price) -> tuple[str, ...]:
    if not price.components:
        return tuple(describe_price(price))
    return tuple(describe(component, price.currency) for component in price.components)


def no_longer_rated(line: RatedLine) -> RatedLine:
    """What an earlier line has become whose usage belongs to another price version by now."""
    return replace(line, quantity=ZERO, steps=(), rated_amount=ZERO, counts=Counts())
