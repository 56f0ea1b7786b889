"""From raw events to invoices: usage-svc and billing-svc come to what a plain sum of the events comes to, to
the cent, whatever comes twice, late or in another order, and wherever either of them dies.

Both are real; of Kafka there is only what they see of it: records with offsets. `RAW_EVENTS_EXAMPLES=300`
looks for longer.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.usage.v1.events_pb2 import ANSWERED, BROKEN_OFF, CLIENT_CLOSED, REFUSED, UPSTREAM_FAILED
from ams_common.money import to_decimal
from ams_common.testing.plugin import Schema, Serve, Template
from ams_common.testing.tokens import TestIssuer
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Packages, PerUnit, Tier, Volume
from google.type.money_pb2 import Money
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mortal_process import MortalProcess
from support.plain_bills import COMMISSION, DIGITS, Account, month_amounts, rounded
from support.raw_event_market import DAYS, PARTITIONS, SERVICES, Call, Market, Owed
from support.usage_pipeline import UsagePipeline, usage_pipeline

# Fifteen seconds of the suite.
EXAMPLES = int(os.environ.get("RAW_EVENTS_EXAMPLES", "8"))
MONTHS = sorted({f"{day:%Y-%m}" for day in DAYS})
# At the ends of a day, and of the microseconds that are kept.
DAY_NS = 86_400 * 10**9
MOMENTS_NS = st.sampled_from([0, 1, 999, DAY_NS - 1_000, DAY_NS - 1]) | st.integers(0, DAY_NS - 1)
SIZES = st.sampled_from([0, 1, 999_999, 1_000_000, 1_000_001]) | st.integers(0, 5_000_000)
ENDS = st.sampled_from(
    [
        *[(ANSWERED, 200)] * 4,
        (ANSWERED, 404),
        (ANSWERED, 503),
        (CLIENT_CLOSED, 499),
        (BROKEN_OFF, 200),
        (UPSTREAM_FAILED, 502),
        (REFUSED, 413),
    ]
)
RARELY = st.integers(0, 5).map(lambda number: number == 5)
AMOUNTS = st.sampled_from([Decimal(text) for text in ("7.25", "0.5", "0.333333333", "0.005", "0.0005", "0")])


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    borders = [*sorted(draw(st.sets(st.integers(1, 6), max_size=2))), None]
    return tuple(Tier(border, draw(AMOUNTS), draw(AMOUNTS)) for border in borders)


SCHEMES = st.one_of(
    st.builds(PerUnit, AMOUNTS),
    st.builds(Packages, st.integers(1, 3), AMOUNTS),
    st.builds(Graduated, tiers()),
    st.builds(Volume, tiers()),
)


@st.composite
def prices(draw: st.DrawFn) -> tuple[tuple[Component, ...], ChargeRule]:
    """All but the currency."""
    parts = draw(st.lists(st.builds(Component, st.sampled_from(Meter), SCHEMES), min_size=1, max_size=2))
    if draw(RARELY):
        parts = []
    if draw(RARELY):
        parts.append(Component(None, MonthlyFee(draw(AMOUNTS))))
    return tuple(parts), ChargeRule(draw(st.booleans()), draw(st.booleans()))


WHO = st.integers(0, 1)
SERVICE = st.integers(0, len(SERVICES) - 1)
DAY = st.sampled_from(DAYS)
# How many statements a process lives for, if it dies.
LIVES = st.none() | st.integers(0, 24)
# Who calls what with which key, and on which day; and when then, how a call of theirs ends, what it moves,
# whether it goes on, and is a test.
HABITS = st.tuples(WHO, WHO, SERVICE, DAY)
CALLS = st.tuples(MOMENTS_NS, ENDS, SIZES, SIZES, RARELY, RARELY)
PARTITION = st.integers(0, PARTITIONS - 1)
# The first has most services.
MERCHANT = st.sampled_from((0, 0, 0, 1))
OFTEN = st.integers(0, 3).map(bool)
Step = tuple[Any, ...]


@st.composite
def rounds(draw: st.DrawFn, habits: list[Any]) -> list[Step]:
    """Calls, and how far each of what follows them gets: what is left out is late."""
    call = st.builds(lambda habit, how: Call(*habit, *how), st.sampled_from(habits), CALLS)
    calls = st.lists(call, min_size=2, max_size=6)
    steps: list[Step] = [("call", draw(calls), draw(st.integers(1, 3)), draw(PARTITION))]
    later = (
        st.tuples(st.just("send_again"), st.lists(st.integers(0, 99), min_size=1, max_size=6), PARTITION),
        st.tuples(st.just("offer"), SERVICE, DAY, MOMENTS_NS, prices()),
        st.tuples(st.just("count"), st.just(0), LIVES),
        st.tuples(st.just("count"), st.just(1), LIVES),
        st.tuples(st.just("tell"), st.integers(1, 9), st.booleans(), st.booleans()),
        st.tuples(st.just("hear_of_prices"), LIVES),
        st.tuples(st.just("bill"), LIVES),
        st.tuples(st.just("draft"), LIVES),
        st.tuples(st.just("issue"), DAY, MERCHANT, st.none() | WHO, LIVES),
        st.tuples(st.just("void"), MERCHANT, st.integers(0, 9), LIVES),
        st.tuples(st.just("credit"), MERCHANT, st.integers(0, 9), st.integers(1, 99), LIVES),
    )
    return steps + [draw(step) for step in later if draw(OFTEN)]


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """Most services have a price before the first call. Few habits, so that much is of the same group."""
    habits = draw(st.lists(HABITS, min_size=1, max_size=4))
    first_days = st.sampled_from(DAYS[:3])
    steps: list[Step] = [
        ("offer", service, draw(first_days), draw(MOMENTS_NS), draw(prices()))
        for service in range(len(SERVICES))
        if draw(OFTEN)
    ]
    return steps + [step for part in draw(st.lists(rounds(habits), min_size=2, max_size=4)) for step in part]


K = TypeVar("K")
Amounts = dict[Account, tuple[str, Decimal]]


def owed_by(amounts: Amounts, merchant_of: dict[str, str]) -> Owed:
    owed: Owed = defaultdict(Decimal)
    for account, (currency, amount) in amounts.items():
        owed[merchant_of[account.service_id], account.consumer_id, currency] += amount
    return owed


def by_currency(moneys: Iterable[Money]) -> dict[str, Decimal]:
    return {each.currency_code: to_decimal(each) for each in moneys}


def without_nothing(amounts: Mapping[K, Decimal]) -> dict[K, Decimal]:
    """What is free, or comes to nothing, may be said or not."""
    return {key: amount for key, amount in amounts.items() if amount}


async def assert_spend(market: Market, amounts: Amounts) -> None:
    """Of each consumer and month, by service, key and project."""
    for consumer_id in market.consumers:
        for month in MONTHS:
            own = {
                account.service_id: amount
                for account, amount in amounts.items()
                if account.consumer_id == str(consumer_id) and account.month == month
            }
            totals: defaultdict[str, Decimal] = defaultdict(Decimal)
            for currency, amount in own.values():
                totals[currency] += amount
            for group in (pb.SPEND_BY_KEY, pb.SPEND_BY_PROJECT):
                spend = await market.billing.spend(consumer_id, month, group_by=group)
                assert without_nothing(by_currency(spend.totals)) == without_nothing(totals)
                for parts in (spend.lines, spend.shares):
                    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
                    for part in parts:
                        sums[part.service_id] += to_decimal(part.amount)
                    assert without_nothing(sums) == without_nothing(
                        {service_id: amount for service_id, (_, amount) in own.items()}
                    )


async def assert_revenue(market: Market, amounts: Amounts) -> None:
    """Of each merchant and month; the commission is taken of each consumer's."""
    for merchant_id in market.merchants:
        for month in MONTHS:
            revenue = await market.billing.revenue(merchant_id, month)
            of_month = {account: amount for account, amount in amounts.items() if account.month == month}
            gross: defaultdict[str, Decimal] = defaultdict(Decimal)
            commission: defaultdict[str, Decimal] = defaultdict(Decimal)
            for (merchant, _, currency), subtotal in owed_by(of_month, market.merchant_of).items():
                if merchant == str(merchant_id):
                    gross[currency] += subtotal
                    commission[currency] += rounded(subtotal * COMMISSION, currency)
            for expected, found in (
                (gross, [each.gross for each in revenue.totals]),
                (commission, [each.commission for each in revenue.totals]),
                (
                    {each: gross[each] - commission[each] for each in gross},
                    [each.net for each in revenue.totals],
                ),
            ):
                assert without_nothing(by_currency(found)) == without_nothing(expected)


@pytest.fixture
def process() -> MortalProcess:
    return MortalProcess()


@pytest.fixture
async def mortal_pipeline(
    process: MortalProcess,
    admin_database_url: str,
    templates: Callable[[Schema], Template],
    kafka_bootstrap: str,
    topic_prefix: str,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> AsyncIterator[UsagePipeline]:
    """Both services in a process that may die."""
    async with usage_pipeline(
        admin_database_url, templates, kafka_bootstrap, topic_prefix, issuer, serve_rpc, process.open
    ) as opened:
        yield opened


@given(stories())
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_invoices_spend_and_revenue_are_those_of_the_raw_events(
    mortal_pipeline: UsagePipeline, process: MortalProcess, steps: list[Step]
) -> None:
    market = Market(mortal_pipeline, process)
    await market.open()
    for name, *arguments in steps:
        await getattr(market, name)(*arguments)
    await market.settle()
    amounts = month_amounts(market.events, market.pricings)
    owed = owed_by(amounts, market.merchant_of)
    assert without_nothing(await market.invoiced()) == without_nothing(owed)
    await assert_spend(market, amounts)
    await assert_revenue(market, amounts)
    await mortal_pipeline.check()


def test_the_currencies_have_the_digits_of_their_own() -> None:
    assert {currency for _, currency in SERVICES} == DIGITS.keys()
    assert sorted(DIGITS.values()) == [0, 2, 3]
