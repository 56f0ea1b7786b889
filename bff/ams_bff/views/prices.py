"""The prices of a service that is in the marketplace: announced, taken back, simulated; and what a consumer's
last days would have cost on it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ACTIVE
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams_common.clock import from_timestamp, utc_now
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.ui.periods import months_before
from ams_bff.usage.figures import change_of_sums
from ams_bff.views import price_forms
from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.merchant_services import PATH, load_service
from ams_bff.views.naming import know_services
from ams_bff.views.price_previews import editor_fields

_PRICES = f"{PATH}/{{service_id}}/prices"
_SIMULATION = f"{PATH}/{{service_id}}/simulation"
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class VersionRow:
    version: PriceVersion
    state: str


async def show_prices(visit: Visit, form: Form | None = None) -> Response:
    """All versions, and the form for another."""
    service = await load_service(visit)
    now = utc_now()
    listed = await visit.api.catalog.ListPrices(service_id=service.service_id)
    if form is None:
        form = Form.starting(starts_on=_next_month(now), **price_forms.starting_values(service.price))
        form.values["etag"] = [listed.etag]
    # What was announced meanwhile stands above.
    form = form.beside(Form.starting(etag=listed.etag))
    return await visit.render(
        "prices/change.html",
        form=form,
        service=service,
        versions=version_rows(listed.prices, now),
        **await editor_fields(visit, form),
    )


async def schedule_price(visit: Visit) -> Response:
    """Announces it; or only shows the form again, when it is the price's parts that were changed."""
    form, service_id = visit.form, visit.parameter("service_id")
    if price_forms.edit(form):
        form.values.setdefault("starts_on", [_next_month(utc_now())])
        return await show_prices(visit, form)
    try:
        price = price_forms.price_of(form)
        if not form["starts_on"]:
            form.refuse("starts_on", "is required")
        form.check()
        made = await visit.api.catalog.SchedulePrice(
            service_id=service_id,
            price=price,
            starts_on=form["starts_on"],
            idempotency_key=form["idempotency_key"],
            etag=form["etag"],
        )
    except AppError as error:
        return await show_prices(visit, form.refused(error))
    day = from_timestamp(made.starts_at)
    return await visit.redirect(
        f"{PATH}/{service_id}/prices", f"The new price starts on {day:%-d %B %Y}. Consumers are told."
    )


async def cancel_price(visit: Visit) -> Response:
    service_id = visit.parameter("service_id")
    await visit.api.catalog.CancelPrice(
        service_id=service_id, price_version_id=visit.parameter("price_version_id")
    )
    return await visit.redirect(
        f"{PATH}/{service_id}/prices", "It is canceled: the price before it goes on. Consumers are told."
    )


async def show_simulation(visit: Visit) -> Response:
    service = await load_service(visit)
    form = Form.starting(period=_past_months()[0], **price_forms.starting_values(service.price))
    return await _simulation_page(visit, service, form)


async def simulate(visit: Visit) -> Response:
    """Replays a month. Nothing is changed, so the answer to the form is the page itself."""
    service, form = await load_service(visit), visit.form
    if price_forms.edit(form):
        return await _simulation_page(visit, service, form)
    try:
        price = price_forms.price_of(form)
        form.check()
        result = await visit.api.billing.SimulatePrice(
            service_id=service.service_id, price=price, period=form["period"]
        )
    except AppError as error:
        return await _simulation_page(visit, service, form.refused(error))
    return await _simulation_page(visit, service, form, result)


async def show_cost(visit: Visit) -> Response:
    """A consumer's last 30 days, on a service of its own, at this one's price."""
    service, requests = await asyncio.gather(
        visit.api.catalog.GetMarketplaceService(service=visit.parameter("service")), all_requests(visit)
    )
    known = await know_services(visit, approved_services(requests))
    choices = sorted(((each.service_id, each.name) for each in known.values()), key=lambda pair: pair[1])
    used = visit.query.get("used", "") or (choices[0][0] if choices else "")
    preview = None
    if used in known:
        asked = visit.api.billing.EstimateCost(used_service_id=used, service_id=service.service_id)
        preview = await visit.or_none_if_down(asked)
    return await visit.render("prices/cost.html", service=service, choices=choices, preview=preview)


def version_rows(versions: Iterable[PriceVersion], now: datetime) -> list[VersionRow]:
    """Each with its state, in the order that they came: the newest start first."""
    rows, is_in_force_known = [], False
    for version in versions:
        if version.HasField("canceled_at"):
            state = "Canceled"
        elif from_timestamp(version.starts_at) > now:
            state = "Announced"
        else:
            state = "Ended" if is_in_force_known else "In force"
            is_in_force_known = True
        rows.append(VersionRow(version, state))
    return rows


async def _simulation_page(
    visit: Visit, service: pb.Service, form: Form, result: billing_pb.PriceSimulation | None = None
) -> Response:
    change = change_of_sums([result.simulated], [result.actual]) if result is not None else None
    return await visit.render(
        "prices/simulation.html",
        form=form,
        service=service,
        result=result,
        change=change,
        months=_past_months(),
        is_live=service.status == ACTIVE,
        **await editor_fields(visit, form),
    )


def _past_months() -> list[str]:
    return months_before(utc_now(), _MONTHS + 1)[1:]


def _next_month(now: datetime) -> str:
    return f"{(now.replace(day=1) + timedelta(days=32)).replace(day=1):%Y-%m-%d}"


VIEWS = (
    page(_PRICES, show_prices, MERCHANT),
    action(_PRICES, schedule_price, MERCHANT),
    action(f"{_PRICES}/{{price_version_id}}/cancel", cancel_price, MERCHANT),
    page(_SIMULATION, show_simulation, MERCHANT),
    action(_SIMULATION, simulate, MERCHANT),
    page("/marketplace/{service}/cost", show_cost, CONSUMER),
)
