"""Whatever happens in whatever order: all invoices less all credit notes are what everything comes to, to
the cent.

The reference is slow and plain: fractions, days one by one, no code of the service or of its rating.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1.events_pb2 import ABANDONED, CLIENT_ERROR, SERVED, UNCHARGED, UsageTotal
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.money import to_decimal, to_money
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier, Volume
from billing_svc.issuing import issue_merchant
from billing_svc.runs import RunScope
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, Group, PricedService
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIRST_DAY, DAYS = date(2026, 9, 25), 70  # to the 3rd of December
NOW = datetime(2026, 12, 4, 1, tzinfo=UTC)
CURRENCIES = ("EUR", "JPY")  # of two services
DIGITS = {"EUR": 2, "JPY": 0}
CLASSES = (SERVED, CLIENT_ERROR, ABANDONED, UNCHARGED)
# The second service gives 4xx and abandoned calls away.
CHARGED = ({SERVED, CLIENT_ERROR, ABANDONED}, {SERVED})
TIERS = (Tier(5, Decimal("0.4")), Tier(12, Decimal("0.3"), Decimal("1.5")), Tier(None, Decimal("0.05")))
SCHEMES: tuple[tuple[Component, ...], ...] = (
    (Component(Meter.REQUESTS, PerUnit(Decimal("0.125"))),),
    (Component(Meter.REQUESTS, Graduated(TIERS)), Component(None, MonthlyFee(Decimal(3)))),
    (Component(Meter.REQUESTS, Volume(TIERS)),),
    (Component(None, MonthlyFee(Decimal("7.5"))), Component(Meter.MEGABYTES, PerUnit(Decimal(90)))),
    (),
)

DAY = st.integers(0, DAYS - 1)
WHO = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("use"), WHO, WHO, DAY, st.sampled_from(CLASSES), st.integers(1, 9), st.booleans()),
    st.tuples(st.just("tell"), st.randoms()),
    st.tuples(st.just("price"), WHO, st.integers(1, DAYS - 1), st.integers(0, len(SCHEMES) - 1)),
    st.tuples(st.just("issue"), DAY, st.sampled_from([None, 0, 1])),
    st.tuples(st.just("crash"), DAY),
    st.tuples(st.just("draft")),
    st.tuples(st.just("void"), st.integers(0, 9)),
    st.tuples(st.just("credit"), st.integers(0, 9), st.integers(1, 99)),
)


class _CrashError(Exception):
    """The process is gone."""


@dataclass
class Market:
    """A merchant with two services and two consumers, what happens, and what should come of it."""

    billing: Billing
    events: Events
    database: Database[Store]
    merchant_id: UUID = field(default_factory=uuid7)
    consumers: tuple[UUID, ...] = field(default_factory=lambda: (uuid7(), uuid7()))
    services: list[PricedService] = field(default_factory=list)
    prices: list[dict[date, int]] = field(default_factory=lambda: [{}, {}])
    counts: Counter[Group] = field(default_factory=Counter)
    told: list[UsageTotal] = field(default_factory=list)
    untold: list[UsageTotal] = field(default_factory=list)
    credited: Counter[str] = field(default_factory=Counter)

    async def open(self) -> None:
        self.billing.clock.now = NOW
        for number, currency in enumerate(CURRENCIES):
            price = self._price(number, 0)
            self.services.append(
                await self.events.priced_service(price, merchant_id=self.merchant_id, name=currency)
            )
            self.prices[number][date(2026, 1, 1)] = 0

    def _price(self, service: int, scheme: int) -> Price:
        rule = ChargeRule(is_client_error_free=service == 1, is_abandoned_free=service == 1)
        return Price(CURRENCIES[service], SCHEMES[scheme], rule)

    async def use(self, who: int, service: int, day: int, kind: Any, count: int, is_late: bool) -> None:
        group = Group(
            self.services[service],
            self.consumers[who],
            (FIRST_DAY + timedelta(day)).isoformat(),
            api_key_id=UUID(int=day % 3),
            charge_class=kind,
        )
        self.counts[group] += count
        total = group.total(self.counts[group])
        if is_late:
            self.untold.append(total)
        else:
            self.told.append(total)
            await self.events.usage(total)

    async def tell(self, random: Any) -> None:
        """What is late arrives, and some of what came before once more, in any order."""
        totals = [*self.untold, *random.sample(self.told, len(self.told) // 2)]
        random.shuffle(totals)
        await self.events.usage(*totals)
        self.told += self.untold
        self.untold.clear()

    async def price(self, service: int, day: int, scheme: int) -> None:
        first_day = FIRST_DAY + timedelta(day)
        if first_day not in self.prices[service]:
            self.prices[service][first_day] = scheme
            await self.events.new_price(
                self.services[service], self._price(service, scheme), first_day.isoformat()
            )

    async def issue(self, day: int, who: int | None) -> None:
        run = await self.billing.issue(
            (FIRST_DAY + timedelta(day)).isoformat(),
            merchant_id=str(self.merchant_id),
            consumers=[] if who is None else [str(self.consumers[who])],
        )
        assert run.status == pb.RUN_DONE

    async def crash(self, day: int) -> None:
        scope = RunScope(uuid7(), FIRST_DAY + timedelta(day), None, None)
        try:
            async with self.database.change_by_system("test", audited=False) as change:
                await issue_merchant(change, self.merchant_id, scope, NOW, 30)
                raise _CrashError
        except _CrashError:
            pass

    async def draft(self) -> None:
        await self.billing.draft()

    async def void(self, number: int) -> None:
        if invoice := await self._pick(number):
            before = to_decimal(invoice.credited)
            try:
                await self.billing.void(invoice.invoice_id)
            except FailedPreconditionError:
                return
            self.credited[invoice.subtotal.currency_code] -= before  # type: ignore[assignment]  # decimals

    async def credit(self, number: int, percent: int) -> None:
        if invoice := await self._pick(number):
            currency = invoice.subtotal.currency_code
            amount = round(to_decimal(invoice.subtotal) * percent / 100, DIGITS[currency])
            request = pb.CreateCreditNoteRequest(
                invoice_id=invoice.invoice_id, amount=to_money(amount, currency), reason="Late"
            )
            if 0 < amount <= to_decimal(invoice.subtotal) - to_decimal(invoice.credited):
                await self.billing.ask("CreateCreditNote", request, uuid7(), ADMIN)
                self.credited[currency] += amount  # type: ignore[assignment]  # decimals

    async def _pick(self, number: int) -> pb.Invoice | None:
        found = [
            invoice
            for invoice in await self.billing.invoices(merchant_id=str(self.merchant_id))
            if invoice.status == pb.INVOICE_ISSUED and invoice.kind == pb.INVOICE
        ]
        return found[number % len(found)] if found else None

    async def settle(self) -> None:
        """All has arrived, and there is enough to pay that whatever is owed to a consumer fits on the
        invoice."""
        await self.events.usage(*self.untold)
        for currency in CURRENCIES:
            dear = await self.events.priced_service("100000", currency, self.merchant_id, name="Dear")
            for consumer_id in self.consumers:
                await self.events.usage(Group(dear, consumer_id, "2026-12-01").total(1))
        await self.issue(DAYS - 1, None)

    def expected(self) -> dict[str, Fraction]:
        """What everything comes to, by currency."""
        totals = {currency: Fraction(200_000) for currency in CURRENCIES}
        for service, currency in enumerate(CURRENCIES):
            for consumer_id in self.consumers:
                totals[currency] += self._expected_of(service, consumer_id)
        return totals

    def _expected_of(self, service: int, consumer_id: UUID) -> Fraction:
        months: defaultdict[str, Counter[date]] = defaultdict(Counter)
        for group, count in self.counts.items():
            day = date.fromisoformat(group.day)
            if (
                group.priced is self.services[service]
                and group.consumer_id == consumer_id
                and group.charge_class in CHARGED[service]
            ):
                start = max(begin for begin in self.prices[service] if begin <= day)
                months[group.day[:7]][start] += count
        total = Fraction(0)
        for starts in months.values():
            for start, calls in starts.items():
                for part in SCHEMES[self.prices[service][start]]:
                    exact = plain_amount(part, calls, is_fee_due=start == min(starts))
                    scale = 10 ** DIGITS[CURRENCIES[service]]
                    total += Fraction(round(exact * scale), scale)  # half-even
        return total


def plain_amount(part: Component, calls: int, *, is_fee_due: bool) -> Fraction:
    """Each call has 110 bytes."""
    match part.scheme:
        case MonthlyFee(amount):
            return Fraction(amount) if is_fee_due else Fraction(0)
        case PerUnit(amount):
            return Fraction(amount) * (
                calls if part.meter is Meter.REQUESTS else Fraction(calls * 110, 10**6)
            )
        case Graduated(tiers):
            total, reached = Fraction(0), set()
            for call in range(1, calls + 1):
                tier = next(tier for tier in tiers if tier.up_to is None or call <= tier.up_to)
                total += Fraction(tier.unit_amount)
                reached.add(tier)
            return total + sum(Fraction(tier.flat_amount) for tier in reached)
        case Volume(tiers):
            tier = next(tier for tier in tiers if tier.up_to is None or calls <= tier.up_to)
            return Fraction(tier.unit_amount) * calls + Fraction(tier.flat_amount)
    raise AssertionError(part)


@given(st.lists(STEPS, max_size=25))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_all_invoices_less_all_credit_notes_are_what_everything_comes_to(
    billing: Billing, events: Events, database: Database[Store], steps: list[tuple[Any, ...]]
) -> None:
    market = Market(billing, events, database)
    await market.open()
    for name, *arguments in steps:
        await getattr(market, name)(*arguments)
    await market.settle()
    # An example that Hypothesis breaks off leaves drafts of its own behind.
    drafts = [draft for draft in await billing.draft() if draft.merchant_id == str(market.merchant_id)]
    assert drafts == []
    totals: Counter[str] = Counter()
    rows = await billing.rows(
        "SELECT currency, kind, subtotal FROM invoices WHERE merchant_id = $1", market.merchant_id
    )
    for row in rows:
        sign = 1 if row["kind"] == "invoice" else -1
        totals[row["currency"]] += sign * Fraction(row["subtotal"])  # type: ignore[assignment]
    owed = {currency: totals[currency] + Fraction(market.credited[currency]) for currency in CURRENCIES}
    assert owed == market.expected()
    await billing.check()


async def test_the_revenue_and_spend_of_a_month_are_its_invoices_to_the_cent(
    billing: Billing, events: Events, database: Database[Store]
) -> None:
    """Where a month is billed as a whole the pages say what its invoices will."""
    market = Market(billing, events, database)
    await market.open()
    await market.price(0, 50, 1)
    for day in range(37, 67):
        await market.use(day % 2, 0, day, CLASSES[day % 4], 1 + day % 7, False)
    drafts = {draft.consumer_id: draft for draft in await billing.draft()}
    revenue = await billing.revenue(market.merchant_id, "2026-11")
    assert to_decimal(revenue.totals[0].gross) == sum(to_decimal(d.subtotal) for d in drafts.values())
    assert to_decimal(revenue.totals[0].commission) == sum(to_decimal(d.commission) for d in drafts.values())
    assert to_decimal(revenue.totals[0].net) == sum(to_decimal(d.total) for d in drafts.values())
    for consumer_id in market.consumers:
        spend = await billing.spend(consumer_id, "2026-11")
        assert spend.totals[0] == drafts[str(consumer_id)].subtotal
