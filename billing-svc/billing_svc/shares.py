"""A service's spend shared out over what ran it up: keys, projects, days. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar
from uuid import UUID

from ams_rating.currencies import MINOR_UNIT_DIGITS

from billing_svc.invoices import sum_exactly
from billing_svc.rating import RatedLine, Usage, rate_usage

G = TypeVar("G", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Share(Generic[G]):
    """What of a service's amount a group of its usage has: a key, or a day."""

    service_id: UUID
    group_id: G
    currency: str
    amount: Decimal
    requests: int


def share_out(lines: Sequence[RatedLine], usages: Iterable[tuple[G, Usage]]) -> list[Share[G]]:
    """As `share_amounts()`, what `lines` come to, which are of one consumer and month."""
    return share_amounts(_amounts(lines), usages)


def share_amounts(
    amounts: Mapping[tuple[UUID, str], Decimal], usages: Iterable[tuple[G, Usage]], extra_digits: int = 0
) -> list[Share[G]]:
    """The amount of each service and currency, over the groups whose usage is given: by what each would have
    cost by itself, so that shares add up to it exactly, with so many digits behind the minor unit."""
    by_group: defaultdict[G, list[Usage]] = defaultdict(list)
    for group_id, usage in usages:
        by_group[group_id].append(usage)
    alone = {group_id: _by_service(rate_usage(group).lines) for group_id, group in by_group.items()}
    shares = []
    for (service_id, currency), amount in sorted(amounts.items()):
        found = [
            (group_id, services[service_id, currency])
            for group_id, services in sorted(alone.items(), key=lambda item: str(item[0] or ""))
            if (service_id, currency) in services
        ]
        # Before they are rounded: a day's few calls alone would cost nothing.
        weights = [sum_exactly(step.amount for line in own for step in line.steps) for _, own in found]
        requests = [_requests(own) for _, own in found]
        # Each alone may be free, in a free tier, though together they aren't.
        if not any(weights):
            weights = [Decimal(count) for count in requests]
        parts = split(amount, weights, currency, extra_digits)
        for (group_id, _), part, count in zip(found, parts, requests, strict=True):
            shares.append(Share(service_id, group_id, currency, part, count))
    return shares


def split(amount: Decimal, weights: Sequence[Decimal], currency: str, extra_digits: int = 0) -> list[Decimal]:
    """Parts of `amount` in whole minor units, or so many digits finer, in proportion to `weights`, that add
    up to it: each is rounded down, and what is left goes to those with the largest remainders, the first of
    equal ones first."""
    if not weights:
        return []
    digits = MINOR_UNIT_DIGITS[currency] + extra_digits
    units = int(amount.scaleb(digits))
    # Whole numbers: a quotient of decimals would be cut.
    whole = _whole(weights) if any(weights) else [1] * len(weights)
    total = sum(whole)
    parts = [units * weight // total for weight in whole]
    by_remainder = sorted(range(len(whole)), key=lambda at: (-(units * whole[at] % total), at))
    for at in by_remainder[: units - sum(parts)]:
        parts[at] += 1
    return [Decimal(part).scaleb(-digits) for part in parts]


def _whole(weights: Sequence[Decimal]) -> list[int]:
    numerators = [weight.as_integer_ratio() for weight in weights]
    common = max(denominator for _, denominator in numerators)
    for _, denominator in numerators:
        if common % denominator:
            common *= denominator
    return [numerator * common // denominator for numerator, denominator in numerators]


def _amounts(lines: Iterable[RatedLine]) -> Mapping[tuple[UUID, str], Decimal]:
    return {
        service: sum_exactly(line.rated_amount for line in own) for service, own in _by_service(lines).items()
    }


def _by_service(lines: Iterable[RatedLine]) -> Mapping[tuple[UUID, str], list[RatedLine]]:
    found: defaultdict[tuple[UUID, str], list[RatedLine]] = defaultdict(list)
    for line in lines:
        found[line.key.service_id, line.currency].append(line)
    return found


def _requests(lines: Iterable[RatedLine]) -> int:
    return sum(line.counts.requests for line in lines if line.key.component == 0)
