"""What holds for the whole platform, and who changed it (FR4-ADMIN-03)."""

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal

from ams.identity.v1 import settings_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import utc_now
from ams_common.errors import AppError
from google.protobuf.field_mask_pb2 import FieldMask
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.formats import month
from ams_bff.ui.forms import Form

PATH = "/admin/settings"
_MONTHS_AHEAD = 12
_CHANGES = 10
_COLUMNS = ("changed_at", "version", "changed_by", "changed_by_name", "setting", "before", "after", "reason")
_PERCENT = re.compile(r"\d{1,2}(?:[.,]\d{1,4})?")
_NUMBERS = ("audit_retention_days", "usage_retention_days", "max_active_keys", "max_services")
# What the settings are called, in the history too.
LABELS = {
    "is_registration_open": "Registration",
    "allowed_mail_domains": "Allowed mail domains",
    "audit_retention_days": "Audit records kept, in days",
    "usage_retention_days": "Single calls kept, in days",
    "max_active_keys": "Active keys of a consumer",
    "max_services": "Services of a merchant",
}


async def show_settings(visit: Visit) -> Response:
    return await _page(visit)


async def _page(visit: Visit, form: Form | None = None, commission: Form | None = None) -> Response:
    settings, listed, rates = await asyncio.gather(
        visit.api.settings.GetPlatformSettings(),
        _ask(visit, _CHANGES, visit.url.page_token),
        visit.or_none_if_down(visit.api.billing.ListCommissionRates()),
    )
    now = utc_now()
    refused = form or commission
    stored = _starting(settings)
    return await visit.render(
        "admin/settings.html",
        refused.status if refused else None,
        settings_form=form.beside(stored) if form else stored,
        commission=commission or Form(),
        rates=[(percent(rate.rate), rate) for rate in rates.commission_rates] if rates else None,
        this_month=f"{now:%Y-%m}",
        months=[(text, month(text)) for text in _months_after(now)],
        changes=listed.changes,
        next_token=listed.next_page_token,
        labels=LABELS,
    )


def _starting(settings: pb.PlatformSettings) -> Form:
    numbers = {name: str(getattr(settings, name)) for name in _NUMBERS}
    return Form.starting(
        etag=settings.etag,
        is_registration_open="open" if settings.is_registration_open else "closed",
        allowed_mail_domains="\n".join(settings.allowed_mail_domains),
        **numbers,
    )


async def update_settings(visit: Visit) -> Response:
    form = visit.form
    try:
        numbers = {name: form.whole(name, 0, 10_000) for name in _NUMBERS}
        if form["is_registration_open"] not in ("open", "closed"):
            form.refuse("is_registration_open", "must be open or closed")
        form.check()
        await visit.api.settings.UpdatePlatformSettings(
            update_mask=FieldMask(paths=[*LABELS]),
            etag=form["etag"],
            reason=form["reason"],
            is_registration_open=form["is_registration_open"] == "open",
            allowed_mail_domains=[
                domain.lower().removeprefix("@")
                for domain in re.split(r"[\s,;]+", form["allowed_mail_domains"])
                if domain
            ],
            **numbers,
        )
    except AppError as error:
        return await _page(visit, form=form.refused(error))
    return await visit.redirect(PATH, "The settings are changed. They hold within seconds.")


async def create_rate(visit: Visit) -> Response:
    """Typed as a percentage, kept as a fraction."""
    form = visit.form
    try:
        form.check()
        made = await visit.api.billing.CreateCommissionRate(
            rate=_fraction(form), starts_in=form["starts_in"], idempotency_key=form["idempotency_key"]
        )
    except AppError as error:
        return await _page(visit, commission=form.refused(error))
    message = f"The commission will be {percent(made.rate)} from {month(made.starts_in)} on."
    return await visit.redirect(PATH, message)


def percent(fraction: str) -> str:
    """ "0.125" as "12.5%"."""
    return f"{(Decimal(fraction) * 100).normalize():f}%"


def _fraction(form: Form) -> str:
    if not _PERCENT.fullmatch(form["rate"]):
        form.refuse("rate", "must be a percentage from 0 to below 100, such as 12.5")
        return ""
    return f"{(Decimal(form['rate'].replace(',', '.')) / 100).normalize():f}"


def _months_after(now: datetime) -> list[str]:
    here = now.astimezone(UTC)
    counts = range(here.month, here.month + _MONTHS_AHEAD)
    return [f"{here.year + count // 12}-{count % 12 + 1:02}" for count in counts]


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListPlatformSettingsChangesResponse:
    return await visit.api.settings.ListPlatformSettingsChanges(page_size=size, page_token=page_token)


async def _rows(visit: Visit, listed: pb.ListPlatformSettingsChangesResponse) -> list[Cells]:
    return [
        [
            *cells(change, "changed_at", "version", "changed_by", "changed_by_name"),
            each.field,
            each.before,
            each.after,
            change.reason,
        ]
        for change in listed.changes
        for each in change.changes
    ]


VIEWS = (
    page(PATH, show_settings, ADMIN),
    action(PATH, update_settings, ADMIN),
    action(f"{PATH}/commission", create_rate, ADMIN),
    list_download(PATH, "platform-settings", _COLUMNS, _ask, _rows, ADMIN),
)
