"""What a consumer has run up so far: by service, key and project, and for alerts."""

from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.client import invoke
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_rating.currencies import MINOR_UNIT_DIGITS
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Price, Tier, Volume
from billing_svc.shares import split
from billing_svc.testing import Billing, Events, Group, PricedService
from hypothesis import given
from hypothesis import strategies as st


async def test_spend_is_priced_live_and_totalled_by_currency(billing: Billing, events: Events) -> None:
    consumer_id = uuid7()
    euro, more, yen = (
        await events.priced_service("0.005", name="A"),
        await events.priced_service("0.125", name="B"),
        await events.priced_service("0.5", "JPY", name="C"),
    )
    await events.usage(*[Group(priced, consumer_id).total(3) for priced in (yen, more, euro)])
    await events.usage(Group(euro, uuid7()).total(1000))
    spend = await billing.spend(consumer_id)
    assert spend.period == "2026-11"
    # 3 × 0.005 = 0.015 → 0.02; 3 × 0.125 = 0.375 → 0.38; 3 × 0.5 = 1.5 → 2
    assert [(line.service_name, line.quantity, to_decimal(line.amount)) for line in spend.lines] == [
        ("A", "3", Decimal("0.02")),
        ("B", "3", Decimal("0.38")),
        ("C", "3", Decimal(2)),
    ]
    assert {total.currency_code: to_decimal(total) for total in spend.totals} == {
        "EUR": Decimal("0.40"),
        "JPY": Decimal(2),
    }


async def test_spend_stays_when_its_usage_is_invoiced(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("1"), uuid7(), "2026-10-10")
    await events.usage(group.total(4))
    before = await billing.spend(group.consumer_id, "2026-10")
    await billing.issue("2026-10-31")
    assert await billing.spend(group.consumer_id, "2026-10") == before
    spend = await billing.spend(group.consumer_id)
    assert (list(spend.lines), list(spend.totals)) == ([], [])


async def test_a_price_that_has_not_arrived_hides_its_own_spend_only(
    billing: Billing, events: Events
) -> None:
    consumer_id, priced = uuid7(), await events.priced_service("1")
    unpriced = PricedService(uuid7(), uuid7(), uuid7())
    await events.usage(Group(unpriced, consumer_id).total(1), Group(priced, consumer_id).total(2))
    assert [line.quantity for line in (await billing.spend(consumer_id)).lines] == ["2"]


async def test_shares_of_keys_and_projects_add_up_to_the_service(billing: Billing, events: Events) -> None:
    consumer_id, project = uuid7(), uuid7()
    tiers = (Tier(10, Decimal(0)), Tier(None, Decimal("0.10")))
    graduated = Price("EUR", (Component(Meter.REQUESTS, Graduated(tiers)),))
    tiered, fee = (
        await events.priced_service(graduated, name="A"),
        await events.priced_service(Price("EUR", (Component(None, MonthlyFee(Decimal(1))),)), name="B"),
    )
    keys = [UUID(int=number) for number in (1, 2, 3)]
    for priced in (tiered, fee):
        await events.usage(
            Group(priced, consumer_id, api_key_id=keys[0]).total(20),
            Group(priced, consumer_id, api_key_id=keys[1], project_id=project).total(20),
            Group(priced, consumer_id, api_key_id=keys[2], project_id=project).total(5),
        )
    by_key = await billing.spend(consumer_id, group_by=pb.SPEND_BY_KEY)
    shown = [(share.group, to_decimal(share.amount), share.requests) for share in by_key.shares]
    # 45 calls: 35 × 0.10 = 3.50. By itself each of the first two would cost 1.00, the third nothing.
    assert [to_decimal(line.amount) for line in by_key.lines] == [Decimal("3.50"), Decimal(1)]
    assert sorted(shown) == sorted(
        [
            (str(keys[0]), Decimal("1.75"), 20),
            (str(keys[1]), Decimal("1.75"), 20),
            (str(keys[2]), Decimal(0), 5),
            (str(keys[0]), Decimal("0.34"), 20),
            (str(keys[1]), Decimal("0.33"), 20),
            (str(keys[2]), Decimal("0.33"), 5),
        ]
    )
    by_project = await billing.spend(consumer_id, group_by=pb.SPEND_BY_PROJECT)
    assert {(share.group, to_decimal(share.amount)) for share in by_project.shares} == {
        # What their keys have.
        ("", Decimal("1.75")),
        (str(project), Decimal("1.75")),
        ("", Decimal("0.34")),
        (str(project), Decimal("0.66")),
    }


CURRENCIES = st.sampled_from(sorted(MINOR_UNIT_DIGITS))
WEIGHTS = st.lists(st.decimals(0, 10**9, places=9), min_size=1, max_size=12)


@given(st.integers(0, 10**12), WEIGHTS, CURRENCIES)
def test_parts_add_up_and_none_is_a_minor_unit_off(units: int, weights: list[Decimal], currency: str) -> None:
    digits = MINOR_UNIT_DIGITS[currency]
    amount = Decimal(units).scaleb(-digits)
    parts = split(amount, weights, currency)
    assert sum(map(Fraction, parts)) == Fraction(amount)
    total = sum(map(Fraction, weights)) or Fraction(len(weights))
    for part, weight in zip(parts, weights, strict=True):
        exact = Fraction(amount) * (Fraction(weight) if any(weights) else 1) / total
        assert abs(Fraction(part) - exact) < Fraction(1, 10**digits)
        assert -int(part.as_tuple().exponent) == digits


async def test_alerts_get_the_spend_of_many_scopes_in_one_call(billing: Billing, events: Events) -> None:
    priced, yen, consumer_id, key, project = (
        await events.priced_service("1"),
        await events.priced_service("10", "JPY"),
        uuid7(),
        uuid7(),
        uuid7(),
    )
    await events.usage(
        Group(priced, consumer_id, api_key_id=key, project_id=project).total(2),
        Group(priced, consumer_id).total(5),
        Group(priced, uuid7()).total(10),
        Group(yen, consumer_id).total(3),
    )
    scope = pb.BatchGetSpendRequest.Scope
    mine, merchant = {"consumer_id": str(consumer_id)}, {"merchant_id": str(priced.merchant_id)}
    scopes = [
        scope(**mine, currency_code="EUR"),
        scope(**mine, currency_code="JPY"),
        scope(**mine, currency_code="USD"),
        scope(**mine, api_key_id=str(key), currency_code="EUR"),
        scope(**mine, project_id=str(project), currency_code="EUR"),
        scope(**mine, service_id=str(yen.service_id), currency_code="EUR"),
        scope(**merchant, currency_code="EUR"),
        scope(**merchant, service_id=str(priced.service_id), currency_code="EUR"),
        scope(merchant_id=str(uuid7()), currency_code="EUR"),
    ]

    async def ask(request: pb.BatchGetSpendRequest) -> list[str]:
        answer = await invoke(
            billing.stub.BatchGetSpend, request, token=billing.issuer.service_token("usage-svc")
        )
        return [f"{money.currency_code} {to_decimal(money).normalize():f}" for money in answer.amounts]

    assert await ask(pb.BatchGetSpendRequest(period="2026-11", scopes=scopes)) == [
        "EUR 7",
        "JPY 30",
        "USD 0",
        "EUR 2",
        "EUR 2",
        "EUR 0",
        "EUR 17",
        "EUR 17",
        "EUR 0",
    ]
    for wrong in (
        scope(currency_code="EUR"),
        scope(**mine, **merchant, currency_code="EUR"),
        scope(**mine, currency_code="XXX"),
    ):
        with pytest.raises(InvalidArgumentError):
            await ask(pb.BatchGetSpendRequest(period="2026-11", scopes=[wrong]))


async def test_a_day_has_what_it_adds_to_the_days_before_it(billing: Billing, events: Events) -> None:
    """Tiers count the month, so the days of a month add up to it, whatever each of them is."""
    tiers = (Tier(5, Decimal(2)), Tier(None, Decimal("0.5")))
    group = Group(
        await events.priced_service(Price("EUR", (Component(Meter.REQUESTS, Volume(tiers)),))), uuid7()
    )
    for day, requests in (("2026-11-01", 2), ("2026-11-10", 3), ("2026-11-30", 4), ("2026-12-01", 9)):
        await events.usage(group.on(day).total(requests))
    scope = pb.BatchGetSpendRequest.Scope(consumer_id=str(group.consumer_id), currency_code="EUR")

    async def spend(day: str) -> Decimal:
        request = pb.BatchGetSpendRequest(period="2026-11", day=day, scopes=[scope])
        answer = await invoke(
            billing.stub.BatchGetSpend, request, token=billing.issuer.service_token("usage-svc")
        )
        return to_decimal(answer.amounts[0])

    found = [await spend(f"2026-11-{day:02}") for day in range(1, 31)]
    # The last day makes all nine cheaper than the five before it were.
    assert {1: found[0], 10: found[9], 30: found[29]} == {1: 4, 10: 6, 30: Decimal("-5.5")}
    assert sum(found) == await spend("")
    for wrong in ("2026-12-01", "2026-11-31", "today"):
        with pytest.raises(InvalidArgumentError):
            await spend(wrong)
