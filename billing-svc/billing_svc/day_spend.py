"""What keys, projects and days come to. Pure.

A month is rated as a whole, for tiers and fees are of months. What of its amount falls to a key or a day is a
share: the month's amount goes to keys first, as long as each was in one project, and from there to days. So
what is told of keys, projects, services and days adds up to the month, whatever it is told apart by.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from ams_rating.currencies import round_to_minor_unit

from billing_svc.invoices import sum_exactly
from billing_svc.periods import first_day_of, last_day_of, months_between
from billing_svc.rating import ZERO, Rated, rate_usage
from billing_svc.rows import KeyUsage
from billing_svc.shares import Share, share_amounts, share_out, split

# Digits behind the minor unit that a day's share has: a day of a key may come to less than a cent.
EXTRA_DIGITS = 4
KEY, PROJECT, SERVICE = "key", "project", "service"


class KeyInProject(NamedTuple):
    """What months are shared out over first; the project is None for none."""

    api_key_id: UUID
    project_id: UUID | None

    def group(self, group_by: str) -> UUID | None:
        """None where nothing is told apart."""
        match group_by:
            case "key":
                return self.api_key_id
            case "project":
                return self.project_id
            case _:
                return None


@dataclass(frozen=True, slots=True)
class SpendQuestion:
    """Which days, of what, told apart by what: KEY, PROJECT, SERVICE or ""."""

    first_day: date
    last_day: date
    group_by: str = ""
    service_id: UUID | None = None
    api_key_id: UUID | None = None
    project_id: UUID | None = None

    def months(self) -> dict[str, bool]:
        """The months that it is about, and whether their days have to be told apart."""
        return {
            month: self.first_day > first_day_of(month) or self.last_day < last_day_of(month)
            for month in months_between(self.first_day, self.last_day)
        }


def months_of(questions: Iterable[SpendQuestion]) -> dict[str, bool]:
    """The months of all questions, and whether one needs their days told apart."""
    found: dict[str, bool] = {}
    for question in questions:
        for month, by_day in question.months().items():
            found[month] = found.get(month, False) or by_day
    return found


class DayPart(NamedTuple):
    """What of a service's amount falls to a key's usage of a day; `day` is None for all of a month whose days
    aren't told apart."""

    service_id: UUID
    key: KeyInProject
    month: str
    day: date | None
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class GroupSpend:
    """`group_id` is None for no project, and where nothing is told apart."""

    group_id: UUID | None
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class DaysSpend:
    """In whole minor units: the groups of a currency add up to its total."""

    totals: Mapping[str, Decimal]
    groups: Sequence[GroupSpend]


def share_out_month(usages: Sequence[KeyUsage]) -> tuple[Rated, list[Share[KeyInProject]]]:
    """What a consumer's month comes to, and what keys have of it in whole minor units. `usages` are all of
    the month."""
    rated = rate_usage(each.usage for each in usages)
    return rated, share_out(rated.lines, [(_key_of(each), each.usage) for each in usages])


def share_out_consumers(usages: Iterable[KeyUsage]) -> list[Share[KeyInProject]]:
    """What keys have of the months of several consumers: tiers count each for itself."""
    by_consumer: defaultdict[UUID, list[KeyUsage]] = defaultdict(list)
    for each in usages:
        by_consumer[each.usage.consumer_id].append(each)
    return [share for own in by_consumer.values() for share in share_out_month(own)[1]]


def sum_by_group(shares: Iterable[Share[KeyInProject]], group_by: str) -> list[Share[UUID | None]]:
    """By service, currency and key or project, in their order."""
    sums: dict[tuple[UUID, str, UUID | None], tuple[Decimal, int]] = {}
    for share in shares:
        group = share.service_id, share.currency, share.group_id.group(group_by)
        amount, requests = sums.get(group, (ZERO, 0))
        sums[group] = sum_exactly((amount, share.amount)), requests + share.requests
    return [
        Share(service_id, group_id, currency, amount, requests)
        for (service_id, currency, group_id), (amount, requests) in sorted(sums.items(), key=_order)
    ]


def _order(item: tuple[tuple[UUID, str, UUID | None], object]) -> tuple[UUID, str, str]:
    service_id, currency, group_id = item[0]
    return service_id, currency, str(group_id or "")


def share_out_days(usages: Iterable[KeyUsage]) -> list[DayPart]:
    """All amounts of consumers in the months that `usages` are all of: tiers count each for itself."""
    months: defaultdict[tuple[UUID, str], list[KeyUsage]] = defaultdict(list)
    for each in usages:
        months[each.usage.consumer_id, each.usage.month].append(each)
    return [part for (_, month), own in months.items() for part in _days_of_month(month, own)]


def _days_of_month(month: str, usages: Sequence[KeyUsage]) -> Iterable[DayPart]:
    by_key: defaultdict[KeyInProject, list[KeyUsage]] = defaultdict(list)
    for each in usages:
        by_key[_key_of(each)].append(each)
    amounts: defaultdict[KeyInProject, dict[tuple[UUID, str], Decimal]] = defaultdict(dict)
    for share in share_out_month(usages)[1]:
        amounts[share.group_id][share.service_id, share.currency] = share.amount
    for key, own in by_key.items():
        for part in share_amounts(amounts[key], [(each.day, each.usage) for each in own], EXTRA_DIGITS):
            yield DayPart(part.service_id, key, month, part.group_id, part.currency, part.amount)


def _key_of(usage: KeyUsage) -> KeyInProject:
    return KeyInProject(usage.api_key_id, usage.project_id)


def answer(question: SpendQuestion, parts: Iterable[DayPart]) -> DaysSpend:
    """`parts` are those of the question's months, or of more."""
    months = question.months()
    sums: defaultdict[tuple[str, UUID | None], list[Decimal]] = defaultdict(list)
    for part in parts:
        if part.month in months and _is_about(question, part):
            sums[part.currency, _group_in(question, part)].append(part.amount)
    by_currency: defaultdict[str, list[tuple[UUID | None, Decimal]]] = defaultdict(list)
    for (currency, group_id), amounts in sums.items():
        by_currency[currency].append((group_id, sum_exactly(amounts)))
    totals, groups = {}, []
    for currency, own in sorted(by_currency.items()):
        own.sort(key=lambda item: (-item[1], str(item[0] or "")))
        exact = [amount for _, amount in own]
        totals[currency] = round_to_minor_unit(sum_exactly(exact), currency)
        if question.group_by:
            shown = split(totals[currency], exact, currency)
            groups += [
                GroupSpend(group_id, currency, amount)
                for (group_id, _), amount in zip(own, shown, strict=True)
            ]
    return DaysSpend(totals, groups)


def _is_about(question: SpendQuestion, part: DayPart) -> bool:
    return (
        (part.day is None or question.first_day <= part.day <= question.last_day)
        and question.service_id in (None, part.service_id)
        and question.api_key_id in (None, part.key.api_key_id)
        and question.project_id in (None, part.key.project_id)
    )


def _group_in(question: SpendQuestion, part: DayPart) -> UUID | None:
    return part.service_id if question.group_by == SERVICE else part.key.group(question.group_by)
