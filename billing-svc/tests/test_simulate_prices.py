"""What usage would cost, by the rating that invoices are made by."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams.usage.v1.events_pb2 import CLIENT_ERROR
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.prices import price_message
from ams_common.pseudonyms import Pseudonyms
from ams_rating.charging import ChargeClass, ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier
from ams_rating.rate import Counts, rate, total_of
from billing_svc.simulation import GREATEST_SHOWN, Quantities, SimulatedConsumer, Simulation, usage_of
from billing_svc.testing import Billing, Events, Group, PricedService, SetClock, contains
from hypothesis import given
from hypothesis import strategies as st

TIERED = Price(
    "EUR",
    (
        Component(
            Meter.REQUESTS, Graduated((Tier(100, Decimal(0)), Tier(None, Decimal("0.125"), Decimal(2))))
        ),
        Component(Meter.MEGABYTES, PerUnit(Decimal("1.5"))),
        Component(None, MonthlyFee(Decimal(9))),
    ),
)


async def previewed(billing: Billing, price: Price, **quantities: int) -> pb.PricePreview:
    request = pb.PreviewPriceRequest(price=price_message(price), quantities=pb.Quantities(**quantities))
    answer: pb.PricePreview = await billing.stub.PreviewPrice(request)
    return answer


async def test_anybody_previews_a_price_with_its_tiers(billing: Billing) -> None:
    answer = await previewed(billing, TIERED, served=150, request_bytes=2_000_000)
    assert [to_decimal(line.amount) for line in answer.lines] == [Decimal("8.25"), Decimal(3), Decimal(9)]
    assert to_decimal(answer.total) == Decimal("20.25")
    assert len(answer.descriptions) == 3
    free, rest = answer.lines[0].steps
    assert (free.to, free.amount, rest.quantity, rest.amount) == ("100", "0", "50", "8.25")


async def test_no_use_costs_nothing(billing: Billing) -> None:
    answer = await previewed(billing, TIERED)
    assert not answer.lines
    assert to_decimal(answer.total) == 0


@given(
    st.builds(
        Quantities, *[st.integers(0, 10**12)] * 3, *[st.integers(0, 10**15)] * 2, st.integers(0, 10**12)
    ),
    st.builds(ChargeRule, st.booleans(), st.booleans()),
)
def test_what_a_rule_gives_away_takes_its_share_of_the_bytes(asked: Quantities, rule: ChargeRule) -> None:
    price = Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal(1))),), rule)
    counts = usage_of(asked, price)[ChargeClass.SERVED]
    charged = asked.served + asked.executions
    charged += 0 if rule.is_client_error_free else asked.client_errors
    charged += 0 if rule.is_abandoned_free else asked.abandoned
    calls = asked.served + asked.executions + asked.client_errors + asked.abandoned
    assert counts.requests == charged
    if calls:
        assert 0 <= asked.request_bytes * charged - counts.request_bytes * calls < calls
    else:
        assert counts.response_bytes == asked.response_bytes


async def test_what_can_not_be_billed_or_said_is_refused(billing: Billing) -> None:
    priced = await Events(billing.database).priced_service()
    wrong = price_message(TIERED)
    wrong.components[0].graduated.tiers[1].unit_amount.units = -1
    request = pb.SimulatePriceRequest(service_id=str(priced.service_id), price=wrong)
    with pytest.raises(InvalidArgumentError, match="can't be billed"):
        await billing.ask("SimulatePrice", request, priced.merchant_id, MERCHANT)
    dear = Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal(1_000_000))),) * 10)
    most = pb.Quantities(served=10**12, client_errors=10**12, abandoned=10**12)
    preview = pb.PreviewPriceRequest(price=price_message(dear), quantities=most)
    with pytest.raises(InvalidArgumentError, match="more than an amount can say"):
        await billing.ask("PreviewPrice", preview, uuid7(), CONSUMER)


def simulated(priced: PricedService, price: Price, period: str = "2026-10") -> pb.SimulatePriceRequest:
    return pb.SimulatePriceRequest(
        service_id=str(priced.service_id), price=price_message(price), period=period
    )


async def test_a_merchant_replays_a_month_against_another_price(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    priced = await events.priced_service("0.50")
    version = await events.new_price(priced, "0.25", "2026-10-16")
    assert version
    small, great = Group(priced, uuid7(), "2026-10-03"), Group(priced, uuid7(), "2026-10-03")
    unbilled = Group(priced, small.consumer_id, "2026-10-04", charge_class=CLIENT_ERROR)
    await events.usage(
        small.total(10), great.total(400), great.on("2026-10-20").total(200), unbilled.total(2)
    )
    await events.usage(great.on("2026-11-02").total(999), great.on("2026-09-30").total(999))
    answer = await billing.ask("SimulatePrice", simulated(priced, TIERED), priced.merchant_id, MERCHANT)
    assert (answer.period, answer.consumers, answer.paying_more, answer.paying_less) == ("2026-10", 2, 1, 1)

    def costs(requests: int) -> Decimal:
        counts = Counts(requests, 10 * requests, 100 * requests)
        return total_of(rate(TIERED, counts))

    assert to_decimal(answer.actual) == Decimal(6) + Decimal(200) + Decimal(50)
    assert to_decimal(answer.simulated) == costs(12) + costs(600)
    first, second = answer.greatest
    assert first.consumer_pseudonym == pseudonyms.of_consumer(priced.merchant_id, great.consumer_id)
    assert (to_decimal(first.simulated), first.requests) == (costs(600), 600)
    assert (to_decimal(second.actual), second.requests) == (Decimal(6), 12)
    assert not any(contains(answer, each.consumer_id) for each in (small, great))
    # Unset: the month before.
    request = simulated(priced, TIERED, "")
    assert await billing.ask("SimulatePrice", request, priced.merchant_id, MERCHANT) == answer
    assert to_decimal(answer.actual) == sum(
        to_decimal(total.gross) for total in (await billing.revenue(priced.merchant_id, "2026-10")).totals
    )


async def test_only_an_own_service_and_a_month_that_is_over_are_replayed(
    billing: Billing, events: Events
) -> None:
    priced = await events.priced_service()
    with pytest.raises(NotFoundError):
        await billing.ask("SimulatePrice", simulated(priced, TIERED), uuid7(), MERCHANT)
    with pytest.raises(InvalidArgumentError):
        await billing.ask("SimulatePrice", simulated(priced, TIERED, "2026-11"), priced.merchant_id, MERCHANT)
    await events.new_price(priced, "0.01", "2026-10-16", "USD")
    group = Group(priced, uuid7(), "2026-10-03")
    await events.usage(group.total(1), group.on("2026-10-20").total(1))
    with pytest.raises(FailedPreconditionError, match="several currencies"):
        await billing.ask("SimulatePrice", simulated(priced, TIERED), priced.merchant_id, MERCHANT)


async def test_a_consumer_asks_what_its_last_30_days_would_have_cost_elsewhere(
    billing: Billing, events: Events, clock: SetClock
) -> None:
    used, asked = await events.priced_service("1"), await events.priced_service("0.25", name="Maps")
    await events.new_price(asked, "7", "2026-12-01")
    group = Group(used, uuid7(), "2026-11-15")
    await events.usage(group.total(3), group.on("2026-10-17").total(4), group.on("2026-10-16").total(50))
    await events.usage(Group(used, uuid7()).total(1000))
    request = pb.EstimateCostRequest(used_service_id=str(used.service_id), service_id=str(asked.service_id))
    answer = await billing.ask("EstimateCost", request, group.consumer_id, CONSUMER)
    (line,) = answer.lines
    assert (line.quantity, line.service_name, line.first_day) == ("7", "Maps", "2026-10-17")
    assert to_decimal(answer.total) == Decimal("1.75")
    assert to_decimal((await billing.ask("EstimateCost", request, uuid7(), CONSUMER)).total) == 0
    request.service_id = str(uuid7())
    with pytest.raises(NotFoundError):
        await billing.ask("EstimateCost", request, group.consumer_id, CONSUMER)


def test_only_those_with_the_greatest_change_are_held() -> None:
    simulation = Simulation("EUR")
    for number in range(1000):
        change = Decimal((number * 7919) % 1000 - 500)
        simulation.add(SimulatedConsumer(UUID(int=number), Decimal(0), "", change, 1))
    shown: list[Any] = [abs(each.change) for each in simulation.greatest()]
    assert shown == sorted((abs(Decimal(at - 500)) for at in range(1000)), reverse=True)[:GREATEST_SHOWN]
    assert (simulation.paying_more, simulation.paying_less) == (499, 500)
