"""What days come to: by service, key and project, for pages and for reports; it adds up to the month."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_rating.charging import ChargeClass
from ams_rating.currencies import MINOR_UNIT_DIGITS
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier, Volume
from ams_rating.rate import Counts
from billing_svc.day_spend import SpendQuestion, answer, share_out_days, share_out_month
from billing_svc.rating import PriceVersion, Usage, totals_by_currency
from billing_svc.rows import KeyUsage
from billing_svc.testing import Billing, Events, Group
from hypothesis import given
from hypothesis import strategies as st

TIERS = (Tier(10, Decimal(0)), Tier(None, Decimal("0.10")))
ASK = "BatchGetConsumerSpend"
MONTH_STARTS, MONTH_ENDS = date(2026, 11, 1), date(2026, 11, 30)


def query(first_day: str, last_day: str, group_by: Any = 0, **fields: str) -> pb.SpendQuery:
    return pb.SpendQuery(first_day=first_day, last_day=last_day, group_by=group_by, **fields)


async def ask(billing: Billing, consumer_id: UUID, *queries: pb.SpendQuery) -> Sequence[pb.DaysSpend]:
    request = pb.BatchGetConsumerSpendRequest(queries=queries)
    found: pb.BatchGetConsumerSpendResponse = await billing.ask(ASK, request, consumer_id, CONSUMER)
    return found.spends


def totals(spend: pb.DaysSpend) -> dict[str, Decimal]:
    return {total.currency_code: to_decimal(total) for total in spend.totals}


def groups(spend: pb.DaysSpend) -> dict[str, Decimal]:
    return {each.group: to_decimal(each.amount) for each in spend.groups}


async def test_a_day_has_what_it_would_have_cost_of_the_month(billing: Billing, events: Events) -> None:
    priced, consumer_id = await events.priced_service("0.005"), uuid7()
    used = Group(priced, consumer_id)
    await events.usage(
        used.on("2026-11-01").total(1), used.on("2026-11-02").total(3), used.on("2026-10-31").total(100)
    )
    month, first, second, both, years = await ask(
        billing,
        consumer_id,
        query("2026-11-01", "2026-11-30"),
        query("2026-11-01", "2026-11-01"),
        query("2026-11-02", "2026-11-03"),
        query("2026-10-31", "2026-11-02"),
        query("2025-01-01", "2026-11-15"),
    )
    # Four calls: 0.02, of which a quarter is half a cent, and goes to the even one.
    assert [totals(each) for each in (month, first, second)] == [
        {"EUR": Decimal("0.02")},
        {"EUR": Decimal("0.00")},
        {"EUR": Decimal("0.02")},
    ]
    assert totals(both) == totals(years) == {"EUR": Decimal("0.52")}


async def test_groups_add_up_whatever_they_are(billing: Billing, events: Events) -> None:
    consumer_id, project = uuid7(), uuid7()
    graduated = Price("EUR", (Component(Meter.REQUESTS, Graduated(TIERS)),))
    a, b, yen = (
        await events.priced_service(graduated, name="A"),
        await events.priced_service("0.125", name="B"),
        await events.priced_service("0.5", "JPY", name="C"),
    )
    keys = [UUID(int=number) for number in (1, 2)]
    await events.usage(
        *(Group(a, consumer_id, day, keys[0]).total(15) for day in ("2026-11-01", "2026-11-09")),
        Group(a, consumer_id, "2026-11-09", keys[1], project).total(15),
        Group(b, consumer_id, "2026-11-09", keys[1], project).total(3),
        Group(yen, consumer_id, "2026-11-09", keys[1], project).total(3),
        Group(b, uuid7(), "2026-11-09", keys[1], project).total(1000),
    )
    span = ("2026-11-05", "2026-11-10")
    by_service, by_key, by_project, one_key, one_service, outside = await ask(
        billing,
        consumer_id,
        query(*span, pb.SPEND_BY_SERVICE),
        query(*span, pb.SPEND_BY_KEY),
        query(*span, pb.SPEND_BY_PROJECT),
        query(*span, pb.SPEND_BY_SERVICE, api_key_id=str(keys[1])),
        query(*span, pb.SPEND_BY_KEY, service_id=str(a.service_id)),
        query(*span, pb.SPEND_BY_KEY, project_id=str(uuid7())),
    )
    # A's 45 calls cost 3.50. Alone, the first key's 30 would cost 2.00, the second's 15 0.50: they have 2.80
    # and 0.70.
    # The first key's two days are alike, so half of it is in the span.
    assert totals(by_service) == {"EUR": Decimal("2.48"), "JPY": Decimal(2)}
    assert groups(by_service) == {
        str(a.service_id): Decimal("2.10"),
        str(b.service_id): Decimal("0.38"),
        str(yen.service_id): Decimal(2),
    }
    for each in (by_key, by_project):
        assert totals(each) == totals(by_service)
    eur_of_second = Decimal("0.70") + Decimal("0.38")
    assert [(each.group, to_decimal(each.amount)) for each in by_key.groups] == [
        (str(keys[0]), Decimal("1.40")),
        (str(keys[1]), eur_of_second),
        (str(keys[1]), Decimal(2)),
    ]
    assert [(each.group, to_decimal(each.amount)) for each in by_project.groups] == [
        ("", Decimal("1.40")),
        (str(project), eur_of_second),
        (str(project), Decimal(2)),
    ]
    assert totals(one_key) == {"EUR": eur_of_second, "JPY": Decimal(2)}
    assert groups(one_service) == {str(keys[0]): Decimal("1.40"), str(keys[1]): Decimal("0.70")}
    assert (totals(outside), groups(outside)) == ({}, {})


async def test_a_whole_month_is_what_the_months_page_says(billing: Billing, events: Events) -> None:
    consumer_id = uuid7()
    priced = await events.priced_service(Price("EUR", (Component(Meter.REQUESTS, Graduated(TIERS)),)))
    for number, calls in enumerate((20, 20, 5)):
        await events.usage(
            Group(priced, consumer_id, f"2026-11-{number + 3:02d}", UUID(int=number + 1)).total(calls)
        )
    [spend] = await ask(billing, consumer_id, query("2026-11-01", "2026-11-30", pb.SPEND_BY_KEY))
    by_key = await billing.spend(consumer_id, group_by=pb.SPEND_BY_KEY)
    assert groups(spend) == {share.group: to_decimal(share.amount) for share in by_key.shares}


async def test_nobody_sees_anybody_elses(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.total(4))
    theirs = query("2026-11-01", "2026-11-30", service_id=str(group.priced.service_id))
    for stranger in (uuid7(), group.priced.merchant_id):
        [spend] = await ask(billing, stranger, theirs)
        assert totals(spend) == {}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (query("2026-11-02", "2026-11-01"), "range_invalid"),
        (query("2015-01-01", "2026-11-01"), "range_too_large"),
        (query("2026-11-31", "2026-12-01"), "invalid_argument"),
        (query("2026-11-01", "2026-11-01", service_id="no-id"), "invalid_argument"),
    ],
)
async def test_what_makes_no_sense_is_refused(billing: Billing, wrong: pb.SpendQuery, code: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        await ask(billing, uuid7(), query("2026-11-01", "2026-11-02"), wrong)
    assert raised.value.code == code


async def test_reports_get_each_day_of_many_consumers(billing: Billing, events: Events) -> None:
    priced, other = await events.priced_service("0.0003"), await events.priced_service("1")
    consumers, project = [uuid7(), uuid7()], uuid7()
    for consumer_id in consumers:
        used = Group(priced, consumer_id, project_id=project)
        await events.usage(used.on("2026-11-03").total(10), used.on("2026-11-04").total(30))
        await events.usage(
            Group(other, consumer_id).total(1), Group(priced, consumer_id, "2026-10-01").total(1)
        )
    request = pb.BatchGetDaySpendRequest(
        period="2026-11", consumer_ids=map(str, consumers), merchant_id=str(priced.merchant_id)
    )
    metadata = (("authorization", f"Bearer {billing.issuer.service_token('usage-svc')}"),)
    spends = [
        spend
        async for part in billing.stub.BatchGetDaySpend(request, metadata=metadata)
        for spend in part.spends
    ]
    # 40 calls: 0.012 → 0.01, a quarter and three quarters of it.
    assert [(each.consumer_id, each.day, str(to_decimal(each.amount).normalize())) for each in spends] == [
        (str(consumer_id), day, amount)
        for consumer_id in consumers
        for day, amount in (("2026-11-03", "0.0025"), ("2026-11-04", "0.0075"))
    ]
    assert {each.project_id for each in spends} == {str(project)}
    assert {each.service_id for each in spends} == {str(priced.service_id)}
    token = billing.issuer.user_token(consumers[0], CONSUMER)
    metadata = (("authorization", f"Bearer {token}"),)
    with pytest.raises(Exception) as raised:
        await billing.stub.BatchGetDaySpend(request, metadata=metadata).read()
    assert "PERMISSION_DENIED" in str(raised.value)


CURRENCIES = st.sampled_from(sorted(MINOR_UNIT_DIGITS))
AMOUNTS = st.integers(0, 10**6).map(lambda number: Decimal(number).scaleb(-4))
MODELS = st.one_of(
    AMOUNTS.map(lambda amount: Component(Meter.REQUESTS, PerUnit(amount))),
    AMOUNTS.map(lambda amount: Component(None, MonthlyFee(amount.quantize(Decimal(1))))),
    st.tuples(AMOUNTS, AMOUNTS).map(
        lambda pair: Component(Meter.REQUESTS, Graduated((Tier(100, pair[0]), Tier(None, pair[1]))))
    ),
    st.tuples(AMOUNTS, AMOUNTS).map(
        lambda pair: Component(Meter.REQUESTS, Volume((Tier(100, pair[0]), Tier(None, pair[1]))))
    ),
)


@st.composite
def months(draw: st.DrawFn) -> list[KeyUsage]:
    """A consumer's November: up to three services, keys, projects, on any days."""
    prices = draw(
        st.lists(st.builds(lambda c, m: Price(c, (m,)), CURRENCIES, MODELS), min_size=1, max_size=3)
    )
    uses = draw(
        st.lists(
            st.tuples(
                st.integers(0, len(prices) - 1),
                st.integers(1, 3),
                st.integers(0, 2),
                st.integers(1, 30),
                st.integers(1, 300),
            ),
            min_size=1,
            max_size=25,
            unique_by=lambda use: use[:4],
        )
    )
    return [
        KeyUsage(
            Usage(
                merchant_id=UUID(int=9),
                consumer_id=UUID(int=8),
                service_id=UUID(int=100 + service),
                service_name=f"S{service}",
                month="2026-11",
                first_day=MONTH_STARTS,
                last_day=MONTH_ENDS,
                version=PriceVersion(UUID(int=200 + service), prices[service]),
                counts={ChargeClass.SERVED: Counts(calls, 0, 0)},
            ),
            UUID(int=key),
            UUID(int=project) if project else None,
            date(2026, 11, day),
        )
        for service, key, project, day, calls in uses
    ]


@given(months())
def test_days_add_up_to_the_month_exactly(usages: list[KeyUsage]) -> None:
    rated, shares = share_out_month(usages)
    of_month: defaultdict[Any, Fraction] = defaultdict(Fraction)
    of_keys: defaultdict[Any, Fraction] = defaultdict(Fraction)
    of_days: defaultdict[Any, Fraction] = defaultdict(Fraction)
    for currency, amount in totals_by_currency(rated.lines).items():
        of_month[currency] += Fraction(amount)
    for share in shares:
        of_keys[share.group_id, share.service_id, share.currency] += Fraction(share.amount)
    for part in share_out_days(usages):
        assert part.amount >= 0
        of_days[part.key, part.service_id, part.currency] += Fraction(part.amount)
    assert of_days == of_keys
    whole = answer(SpendQuestion(MONTH_STARTS, MONTH_ENDS), share_out_days(usages))
    assert {currency: Fraction(amount) for currency, amount in whole.totals.items()} == of_month


@given(months(), st.integers(0, 29), st.sampled_from(("key", "project", "service")))
def test_groups_add_up_to_their_total(usages: list[KeyUsage], cut: int, group_by: str) -> None:
    parts = share_out_days(usages)
    for first, last in (
        (MONTH_STARTS, MONTH_STARTS + timedelta(cut)),
        (MONTH_STARTS + timedelta(cut), MONTH_ENDS),
    ):
        spend = answer(SpendQuestion(first, last, group_by), parts)
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for each in spend.groups:
            sums[each.currency] += each.amount
            assert -int(each.amount.as_tuple().exponent) == MINOR_UNIT_DIGITS[each.currency]
        assert sums == spend.totals
        plain = answer(SpendQuestion(first, last), parts)
        assert plain.totals == spend.totals
