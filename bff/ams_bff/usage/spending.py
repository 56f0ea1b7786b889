"""What a consumer's usage costs, for the pages that show it beside usage. A page does without it when
billing-svc can't be asked, one that goes on too: it has a place that says so."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ams.billing.v1 import billing_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.errors import DeadlineExceededError, UnavailableError
from ams_common.money import to_decimal, to_money
from google.type.money_pb2 import Money

from ams_bff.http.feeds import WATCH_SPEND
from ams_bff.http.visits import Visit
from ams_bff.ui.periods import days_of_month, months_before
from ams_bff.usage.figures import REST, change_of_sums
from ams_bff.usage.ranges import UsageQuery

GROUPS = {"service": pb.SPEND_BY_SERVICE, "key": pb.SPEND_BY_KEY, "project": pb.SPEND_BY_PROJECT}
_FILTERS = {"service": "service_id", "key": "api_key_id", "project": "project_id"}


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent in a span of days, and in the one before where that can be compared."""

    now: pb.DaysSpend
    before: pb.DaysSpend | None = None

    @property
    def change(self) -> float | None:
        """As a fraction of what was spent before; None when there is nothing to compare with."""
        return change_of_sums(self.now.totals, self.before.totals) if self.before is not None else None

    @property
    def by_group(self) -> Mapping[str, Sequence[Money]]:
        """By a group's name, the currencies in their order."""
        found: defaultdict[str, list[Money]] = defaultdict(list)
        for each in self.now.groups:
            found[each.group].append(each.amount)
        return found

    def of_groups(self, names: Sequence[str]) -> Mapping[str, Sequence[Money]]:
        """What each has that a table shows; REST has what the others leave of the total."""
        by_group = self.by_group
        shown = {name: by_group.get(name, ()) for name in names}
        if REST in shown:
            rest: defaultdict[str, Decimal] = defaultdict(Decimal)
            for each in self.now.groups:
                if each.group not in shown:
                    rest[each.amount.currency_code] += to_decimal(each.amount)
            shown[REST] = [to_money(amount, currency) for currency, amount in sorted(rest.items())]
        return shown


async def ask_spending(visit: Visit, *queries: pb.SpendQuery) -> Sequence[pb.DaysSpend] | None:
    """The answers to all, in one call; None when billing-svc can't be reached or doesn't answer in time."""
    request = pb.BatchGetConsumerSpendRequest(queries=queries)
    try:
        answer = await visit.ask_or_follow(
            WATCH_SPEND, request, lambda: visit.api.billing.BatchGetConsumerSpend(queries=queries)
        )
    except (UnavailableError, DeadlineExceededError):
        visit.is_degraded = True
        return None
    return answer.spends


async def spend_of_range(visit: Visit, query: UsageQuery) -> Spending | None:
    """Beside usage of that range, narrowed as it is; None also for what isn't told by spend: a status."""
    if "status" in query.filters:
        return None
    days, is_whole = utc_days(query, visit.zone)
    filters = {_FILTERS[name]: text for name, text in query.filters.items()}
    group_by = GROUPS.get(query.group, pb.SPEND_GROUP_BY_UNSPECIFIED)
    queries = [query_of(days, group_by, filters)]
    if is_whole:
        queries.append(query_of(_as_many_before(*days), filters=filters))
    spends = await ask_spending(visit, *queries)
    return Spending(spends[0], spends[1] if is_whole else None) if spends is not None else None


async def spend_this_month(
    visit: Visit,
    now: datetime,
    group_by: pb.SpendGroupBy.ValueType = pb.SPEND_GROUP_BY_UNSPECIFIED,
    **filters: str,
) -> Spending | None:
    """Of the UTC month so far, beside the whole month before."""
    this_month, last_month = map(days_of_month, months_before(now.date(), 2))
    spends = await ask_spending(
        visit, query_of(this_month, group_by, filters), query_of(last_month, filters=filters)
    )
    return Spending(*spends) if spends is not None else None


def query_of(
    days: tuple[date, date],
    group_by: pb.SpendGroupBy.ValueType = pb.SPEND_GROUP_BY_UNSPECIFIED,
    filters: Mapping[str, str] | None = None,
) -> pb.SpendQuery:
    """Of the first and the last day. `filters`: by the names of the query's fields."""
    first_day, last_day = (day.isoformat() for day in days)
    return pb.SpendQuery(first_day=first_day, last_day=last_day, group_by=group_by, **filters or {})


def utc_days(query: UsageQuery, zone: ZoneInfo) -> tuple[tuple[date, date], bool]:
    """The UTC days whose spend belongs beside a range, and whether they are whole days that the range names.

    Spend is of UTC days. A range of days has those that are called as the reader's; one of hours has all that
    it touches.
    """
    if query.days is not None:
        return query.days, True
    is_whole = query.granularity in (usage_pb.DAY, usage_pb.MONTH)
    first, last = (
        at.astimezone(zone if is_whole else UTC).date()
        for at in (query.start, query.end - timedelta(seconds=1))
    )
    return (first, last), is_whole


def _as_many_before(first_day: date, last_day: date) -> tuple[date, date]:
    return first_day - (last_day - first_day + timedelta(days=1)), first_day - timedelta(days=1)
