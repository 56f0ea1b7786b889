"""What pairs of merchant and consumer have open: usage that no invoice says yet, rated and composed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from billing_svc.commission import CommissionRate
from billing_svc.invoices import Billed, Composed, History, compose
from billing_svc.periods import last_day_of, month_of
from billing_svc.rating import LineKey, RatingProblem, rate_usage
from billing_svc.rows import CountedUsage, Pair
from billing_svc.store import Store


@dataclass(frozen=True, slots=True)
class OpenUsage:
    """What a pair's invoices come to now. With problems they are incomplete, and must not be issued."""

    composed: Composed
    problems: tuple[RatingProblem, ...]
    usages: tuple[CountedUsage, ...]
    months: frozenset[str]


@dataclass(slots=True)
class _Read:
    """What was read of a pair."""

    months: set[str] = field(default_factory=set)
    usages: list[CountedUsage] = field(default_factory=list)
    billed: dict[LineKey, Billed] = field(default_factory=dict)


async def read_open_usage(
    store: Store,
    open_months: Iterable[tuple[Pair, str]],
    rates: Sequence[CommissionRate],
    last_day: date | None = None,
) -> dict[Pair, OpenUsage]:
    """Composed through `last_day`, or through the last day that was billed before where that is later; None:
    all there is, for drafts. To be called under the merchants' locks.

    Raises LookupError as compose() does.
    """
    months = list(open_months)
    billed_through = await store.list_billed_through({pair for pair, _ in months})
    through = _last_days({pair for pair, _ in months}, billed_through, last_day)
    read: defaultdict[Pair, _Read] = defaultdict(_Read)
    wanted = [
        (pair, month) for pair, month in months if pair not in through or month <= month_of(through[pair])
    ]
    for pair, month in wanted:
        read[pair].months.add(month)
    # One statement reads all of it, so that what is kept of the counters is what was rated.
    for usage in await store.list_usage(wanted, through, with_counters=last_day is not None):
        read[usage.pair].usages.append(usage)
    for pair, billed in await store.list_billed(wanted):
        read[pair].billed[billed.line.key] = billed
    return {
        pair: _compose(pair, each, billed_through.get(pair, {}), rates, through.get(pair))
        for pair, each in read.items()
    }


def closed_months(usage: OpenUsage, last_day: date | None) -> set[str]:
    """The months of a pair of which nothing is left to say, once its invoices are issued through `last_day`;
    None: nothing is issued, and what its drafts say stays open."""
    if usage.problems:
        return set()
    if last_day is None:
        said = {line.rated.key.month for invoice in usage.composed.invoices for line in invoice.lines}
        return set(usage.months - said - usage.composed.withheld_months)
    return {
        month for month in usage.months - usage.composed.withheld_months if last_day_of(month) <= last_day
    }


def _last_days(
    pairs: Iterable[Pair], billed_through: Mapping[Pair, Mapping[str, date]], last_day: date | None
) -> dict[Pair, date]:
    if last_day is None:
        return {}
    return {pair: max([last_day, *billed_through.get(pair, {}).values()]) for pair in pairs}


def _compose(
    pair: Pair,
    read: _Read,
    billed_through: Mapping[str, date],
    rates: Sequence[CommissionRate],
    last_day: date | None,
) -> OpenUsage:
    rated = rate_usage(usage.usage for usage in read.usages)
    blocked = {problem.service_id for problem in rated.problems}
    # What can't be rated now takes nothing back of what was billed.
    billed = {key: each for key, each in read.billed.items() if key.service_id not in blocked}
    composed = compose(*pair, rated, History(billed, billed_through), rates, last_day)
    return OpenUsage(composed, rated.problems, tuple(read.usages), frozenset(read.months))
