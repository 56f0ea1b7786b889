"""The RPCs that say what usage would cost: with the rating that invoices are made by."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.catalog.v1 import pricing_pb2
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.interceptors import Context
from ams_common.money import to_money
from ams_common.prices import PriceError, price_from_message
from ams_common.pseudonyms import Pseudonyms
from ams_rating.price_json import price_from_json
from ams_rating.prices import Price

from billing_svc.messages import rated_line_message
from billing_svc.periods import day_of, first_day_of, last_day_of, month_before, month_of, period_of
from billing_svc.rating import Usage
from billing_svc.simulation import (
    Preview,
    Quantities,
    SeveralCurrenciesError,
    Simulation,
    by_consumer,
    merged,
    preview,
    simulate,
    usage_of,
)
from billing_svc.simulation_store import ServiceName, SimulationStore
from billing_svc.store import Store

_ESTIMATED_DAYS = 30
# The usage of so many consumers is held at a time.
_CHUNK = 1000
_NOBODY = UUID(int=0)
# What google.type.Money can say.
_MAX_UNITS = 2**63 - 1


@dataclass(kw_only=True, eq=False)
class SimulationRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    clock: Clock = utc_now

    async def PreviewPrice(self, request: pb.PreviewPriceRequest, context: Context) -> pb.PricePreview:
        price, given = _price(request.price), request.quantities
        quantities = Quantities(
            given.served,
            given.client_errors,
            given.abandoned,
            given.request_bytes,
            given.response_bytes,
            given.executions,
        )
        today = day_of(self.clock())
        usage = Usage(
            merchant_id=_NOBODY,
            consumer_id=_NOBODY,
            service_id=_NOBODY,
            service_name="",
            month=month_of(today),
            first_day=today,
            last_day=today,
            version=None,
            counts=usage_of(quantities, price),
        )
        return _preview_message(preview(price, usage), of_service=False)

    async def SimulatePrice(self, request: pb.SimulatePriceRequest, context: Context) -> pb.PriceSimulation:
        price, merchant_id = _price(request.price), current_user_id()
        present = period_of(self.clock())
        period = request.period or month_before(present)
        if period >= present:
            violation = FieldViolation("period", "must be a month that is over")
            raise InvalidArgumentError("period_invalid", "period must be a month that is over.", [violation])
        simulation = Simulation(price.currency)
        async with self.database.read() as reading:
            store = SimulationStore(reading.connection)
            service = await store.find_service(service_id=UUID(request.service_id), merchant_id=merchant_id)
            if service is None:
                raise _not_found()
            span = {"first_day": first_day_of(period), "last_day": last_day_of(period)}
            consumers = await store.list_consumers_of_service(service_id=service.service_id, **span)
            for start in range(0, len(consumers), _CHUNK):
                usages = await store.list_usage_of_service(
                    service_id=service.service_id,
                    service_name=service.name,
                    month=period,
                    consumer_ids=consumers[start : start + _CHUNK],
                    **span,
                )
                _add(simulation, price, [each.usage for each in usages])
        return self._simulation_message(period, simulation)

    async def EstimateCost(self, request: pb.EstimateCostRequest, context: Context) -> pb.PricePreview:
        today = day_of(self.clock())
        first_day = today - timedelta(days=_ESTIMATED_DAYS - 1)
        async with self.database.read() as reading:
            store = SimulationStore(reading.connection)
            service = await store.find_service(service_id=UUID(request.service_id), merchant_id=None)
            found = await store.find_price(service_id=UUID(request.service_id), day=today)
            if service is None or found is None:
                raise _not_found()
            usages = await store.list_usage_of_service(
                service_id=UUID(request.used_service_id),
                service_name=service.name,
                # As if the days were one month: tiers and fees are by month.
                month=month_of(today),
                consumer_ids=[current_user_id()],
                first_day=first_day,
                last_day=today,
            )
        usage = _on(service, [each.usage for each in usages], first_day, today)
        return _preview_message(preview(price_from_json(json.loads(found)), usage), of_service=True)

    def _simulation_message(self, period: str, simulation: Simulation) -> pb.PriceSimulation:
        currency = simulation.currency
        # Where nothing was rated, it is nothing of the new price's currency.
        actual_currency = simulation.actual_currency or currency
        return pb.PriceSimulation(
            period=period,
            actual=to_money(simulation.actual, actual_currency),
            simulated=to_money(simulation.simulated, currency),
            consumers=simulation.consumers,
            paying_more=simulation.paying_more,
            paying_less=simulation.paying_less,
            greatest=[
                pb.SimulatedConsumer(
                    consumer_pseudonym=self.pseudonyms.of_consumer(current_user_id(), each.consumer_id),
                    actual=to_money(each.actual, each.actual_currency or actual_currency),
                    simulated=to_money(each.simulated, currency),
                    requests=each.requests,
                )
                for each in simulation.greatest()
            ],
        )


def _add(simulation: Simulation, price: Price, usages: list[Usage]) -> None:
    try:
        for consumer_id, own in by_consumer(usages).items():
            simulation.add(simulate(price, consumer_id, own))
    except SeveralCurrenciesError:
        raise FailedPreconditionError(
            "several_currencies",
            "The service's prices of that month are in several currencies, so there is no one sum.",
        ) from None


def _on(service: ServiceName, usages: list[Usage], first_day: date, last_day: date) -> Usage:
    """The usage as of another service."""
    counts = merged(usages).counts if usages else {}
    return Usage(
        merchant_id=_NOBODY,
        consumer_id=current_user_id(),
        service_id=service.service_id,
        service_name=service.name,
        month=month_of(last_day),
        first_day=first_day,
        last_day=last_day,
        version=None,
        counts=counts,
    )


def _preview_message(found: Preview, *, of_service: bool) -> pb.PricePreview:
    if found.total > _MAX_UNITS:
        violation = FieldViolation("quantities", "come to more than an amount can say")
        raise InvalidArgumentError(
            "quantities_too_large", "The quantities come to more than an amount can say.", [violation]
        )
    return pb.PricePreview(
        lines=_lines(found, of_service),
        total=to_money(found.total, found.currency),
        descriptions=found.descriptions,
    )


def _lines(found: Preview, of_service: bool) -> Iterator[pb.InvoiceLine]:
    for line in map(rated_line_message, found.lines):
        line.price_version_id = ""
        if not of_service:
            for name in ("service_id", "month", "first_day", "last_day"):
                line.ClearField(name)
        yield line


def _price(message: pricing_pb2.Price) -> Price:
    try:
        return price_from_message(message)
    except PriceError as error:
        violations = [
            FieldViolation(f"price.{_json_path(each.where)}", each.description) for each in error.problems
        ]
        raise InvalidArgumentError("price_invalid", "This price can't be billed.", violations) from None


def _json_path(where: str) -> str:
    """How JSON names a field: "components[0].perUnit" for "components[0].per_unit"."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), where)


def _not_found() -> NotFoundError:
    return NotFoundError("service_not_found", "There is no such service.")
