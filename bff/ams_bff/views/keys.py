"""A consumer's API keys."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ams.catalog.v1.events_pb2 import DOCKER
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, KEY_EXPIRED, KEY_REVOKED, KEY_STATUS_UNSPECIFIED
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.registry.v1.registry_service_pb2 import ListConsumerImagesResponse
from ams_common.clock import to_timestamp, utc_now
from ams_common.errors import AppError
from ams_common.project_rights import ProjectRight, may
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.amounts import CURRENCY_CHOICES
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.forms import Form
from ams_bff.ui.samples import Samples, pull_samples
from ams_bff.usage import figures, reports
from ams_bff.usage.spending import spend_this_month
from ams_bff.views.consumer_images import ask_images
from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.effects import effect_flash
from ams_bff.views.key_settings import LOSSES, key_activities, networks_of
from ams_bff.views.naming import Known, know_services, name_of, service_names
from ams_bff.views.project_names import my_projects, project_choices
from ams_bff.views.spend_caps import CAP_AMOUNT, EMPTY_CAP, cap_form, cap_of, refused_cap
from ams_bff.views.usage_names import labels_of

_LIST = "/dashboard/api-keys"
_PAGE_SIZE = 50
_SORTS = ("name", "created_at", "expires_at")
_STATUSES = {
    "active": KEY_ACTIVE,
    "disabled": KEY_DISABLED,
    "expired": KEY_EXPIRED,
    "revoked": KEY_REVOKED,
}
# Never a secret: nobody has it but who made the key.
_COLUMNS = (
    *("name", "description", "prefix", "status", "services"),
    *("expires_at", "created_at", "revoked_at", "key_id"),
)
_TTL_DAYS = (7, 30, 90, 180, 365)
_DEFAULT_TTL_DAYS = 90
# The choice of a fixed end in the place of a number of days.
FIXED_END = "fixed"
# Of the kind that stays until it is dismissed.
_SENT_TWICE = Flash(
    "The form was sent twice, so this key was made already, and its secret went out with the first answer: "
    "AMS can't show it again. If you haven't kept it, revoke this key and make another.",
    "bad",
)


async def list_keys(visit: Visit) -> Response:
    answer, projects = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token), project_choices(visit)
    )
    names, activities = await asyncio.gather(
        _service_names(visit, answer.keys), key_activities(visit, answer.keys)
    )
    return await visit.render(
        "keys/list.html",
        keys=answer.keys,
        names=names,
        projects=projects,
        project_names=dict(projects),
        activities=activities,
        next_token=answer.next_page_token,
    )


async def show_form(visit: Visit) -> Response:
    """A new key, for a service of the URL when there is one."""
    chosen, project_id = visit.query.get("service", ""), visit.query.get("project", "")
    known = await _granted(visit, project_id)
    if not chosen and len(known) == 1:
        chosen = next(iter(known))
    return await _form_page(
        visit,
        known,
        Form.starting(
            ttl_days=str(_DEFAULT_TTL_DAYS),
            service_ids=[chosen],
            project_id=project_id,
            **EMPTY_CAP,
        ),
    )


async def create_key(visit: Visit) -> Response:
    """Shows the secret, once. A form that is sent again makes no second key and shows no secret."""
    form = visit.form
    try:
        ttl_days, expires_at = _end_of(form, visit.zone)
        if not form["name"]:
            form.refuse("name", "is required")
        if not form.all("service_ids"):
            form.refuse("service_ids", "is required: choose what the key may call")
        cap = cap_of(form) if form[CAP_AMOUNT] else None
        form.check()
        # Before the key is made: whatever fails after it would take the only sight of its secret along.
        known = await know_services(visit, form.all("service_ids"))
        made = await visit.api.keys.CreateKey(
            name=form["name"],
            description=form["description"],
            service_ids=form.all("service_ids"),
            ttl_days=ttl_days,
            idempotency_key=form["idempotency_key"],
            spend_cap=cap,
            is_test=form["is_test"] == "true",
            expires_at=expires_at,
            project_id=form["project_id"],
            allowed_networks=networks_of(form),
        )
    except AppError as error:
        names = {"service": "service_ids", "expires_at": "expires_on"}
        refused = refused_cap(form, error, "spend_cap", **names)
        return await _form_page(visit, await _granted(visit, form["project_id"]), refused)
    if not made.secret:
        return await visit.redirect(f"{_LIST}/{made.key.key_id}", _SENT_TWICE)
    return await visit.render(
        "keys/secret.html",
        key=made.key,
        secret=made.secret,
        services=_in_order(known),
        apis=_apis(known),
        pulls=await _pulls(visit, known, made.secret),
    )


async def show_key(visit: Visit, form: Form | None = None, typed_cap: Form | None = None) -> Response:
    """`form`: a revocation that was refused; `typed_cap`: a spend cap that was."""
    key_id = visit.parameter("key_id")
    key = await visit.api.keys.GetKey(key_id=key_id)
    lost_ids = [lost.service_id for lost in key.lost_services]
    # Of a project's key its members see usage and spend, whoever pays for it.
    report, spent, known, activities, exposures, projects = await asyncio.gather(
        reports.ask_shown(visit, api_key_id=key_id, project_id=key.project_id),
        spend_this_month(visit, utc_now(), api_key_id=key_id, project_id=key.project_id),
        visit.or_none_if_down(know_services(visit, [*key.service_ids, *lost_ids])),
        key_activities(visit, [key]),
        visit.or_none_if_down(visit.api.exposures.ListExposures(key_id=key_id)),
        labels_of(visit, "project", [key.project_id]),
    )
    stored_cap = cap_form(key.spend_cap if key.HasField("spend_cap") else None)
    stored_cap.values["etag"] = [key.etag]
    return await visit.render(
        "keys/show.html",
        typed_cap.status if typed_cap is not None else None,
        key=key,
        form=form or Form(),
        cap_form=typed_cap.beside(stored_cap) if typed_cap else stored_cap,
        currencies=CURRENCY_CHOICES,
        services=[(service_id, name_of(known, service_id)) for service_id in key.service_ids],
        lost=[(name_of(known, lost.service_id), LOSSES[lost.reason]) for lost in key.lost_services],
        terms={terms.service_id: terms for terms in key.service_terms},
        activity=activities.get(key_id),
        exposures=exposures.exposures if exposures is not None else (),
        apis=_apis({each: known[each] for each in key.service_ids if each in known} if known else {}),
        trend=figures.trend(report),
        spent=spent,
        project_name=projects[key.project_id] if key.project_id else "",
    )


async def revoke_key(visit: Visit) -> Response:
    """For good, when the key's name is typed."""
    form = visit.form
    key = await visit.api.keys.GetKey(key_id=visit.parameter("key_id"))
    try:
        if form["confirm"] != key.name.strip():
            form.refuse("confirm", f"that is not “{key.name}”: nothing was revoked")
        form.check()
        revoked = await visit.api.keys.RevokeKey(key_id=key.key_id)
    except AppError as error:
        return await show_key(visit, form.refused(error))
    flash = effect_flash(f"“{key.name}” is revoked.", revoked, visit.zone)
    return await visit.redirect(f"{_LIST}/{key.key_id}", flash)


async def set_key_cap(visit: Visit) -> Response:
    """What calls with the key may cost in a month; or no limit to it."""
    form, key_id = visit.form, visit.parameter("key_id")
    path = f"{_LIST}/{key_id}"
    if form["intent"] == "remove":
        await visit.api.keys.SetKeySpendCap(key_id=key_id)
        return await visit.redirect(path, "The key's spend cap is removed.")
    try:
        cap = cap_of(form)
        form.check()
        capped = await visit.api.keys.SetKeySpendCap(key_id=key_id, amount=cap, etag=form["etag"])
    except AppError as error:
        return await show_key(visit, typed_cap=refused_cap(form, error, "amount"))
    return await visit.redirect(path, effect_flash("The key's spend cap is set.", capped, visit.zone))


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListKeysResponse:
    return await visit.api.keys.ListKeys(
        page_size=size,
        page_token=page_token,
        query=visit.url.words,
        order_by=visit.url.order_by(_SORTS),
        status=_STATUSES.get(visit.query.get("status", ""), KEY_STATUS_UNSPECIFIED),
        project_id=visit.query.get("project", ""),
    )


async def _service_names(visit: Visit, keys: Iterable[pb.Key]) -> Mapping[str, str]:
    """Of all that the keys may call, by id."""
    ids = {service_id for key in keys for service_id in key.service_ids}
    known = await service_names(visit, ids)
    return {service_id: name_of(known, service_id) for service_id in ids}


async def _rows(visit: Visit, answer: pb.ListKeysResponse) -> list[Cells]:
    names = await _service_names(visit, answer.keys)
    return [
        [
            *cells(key, "name", "description", "key_prefix", "status"),
            "; ".join(names[service_id] for service_id in key.service_ids),
            *cells(key, "expires_at", "created_at", "revoked_at", "key_id"),
        ]
        for key in answer.keys
    ]


async def _granted(visit: Visit, project_id: str) -> Known:
    """The services that a key may be made for: one's own, or a project's."""
    return await know_services(visit, approved_services(await all_requests(visit), project_id))


def _end_of(form: Form, zone: ZoneInfo) -> tuple[int, Timestamp | None]:
    """The days that the key is good for, or the end of the day that was chosen instead."""
    if form["ttl_days"] != FIXED_END:
        return form.whole("ttl_days", 1, 365), None
    try:
        day = date.fromisoformat(form["expires_on"])
    except ValueError:
        form.refuse("expires_on", "must be a day such as 2026-12-31")
        return 0, None
    return 0, to_timestamp(datetime.combine(day, time.max.replace(microsecond=0), zone).astimezone(UTC))


async def _form_page(visit: Visit, known: Known, form: Form) -> Response:
    now = utc_now()
    presets = [(days, now + timedelta(days=days)) for days in _TTL_DAYS]
    projects = await visit.or_none_if_down(my_projects(visit)) or []
    today = now.astimezone(visit.zone).date()
    return await visit.render(
        "keys/new.html",
        services=_in_order(known),
        presets=presets,
        fixed_end=FIXED_END,
        first_day=today,
        last_day=today + timedelta(days=364),
        currencies=CURRENCY_CHOICES,
        projects=[each for each in projects if may(each.role, ProjectRight.CREATE_KEYS)],
        form=form,
    )


def _in_order(known: Known) -> list[Any]:
    """APIs first, for they are what most keys are for."""
    return sorted(known.values(), key=lambda service: (service.type == DOCKER, service.name.casefold()))


def _apis(known: Known) -> list[Any]:
    return [service for service in _in_order(known) if service.type != DOCKER]


async def _pulls(visit: Visit, known: Known, secret: str) -> list[tuple[Any, Samples]]:
    """Each Docker service, and how to pull its newest version; nothing when there is none."""
    services = [service for service in _in_order(known) if service.type == DOCKER]
    asked = (visit.or_none_if_down(ask_images(visit, service.service_id, 1)) for service in services)
    return [
        (service, _pull_samples(images, secret))
        for service, images in zip(services, await asyncio.gather(*asked), strict=True)
    ]


def _pull_samples(images: ListConsumerImagesResponse | None, secret: str) -> Samples:
    if images is None or not images.images:
        return []
    return pull_samples(images.login_command, images.images[0].pull_command, secret)


VIEWS = (
    page(_LIST, list_keys, CONSUMER),
    list_download(_LIST, "api-keys", _COLUMNS, _ask, _rows, CONSUMER),
    page(f"{_LIST}/new", show_form, CONSUMER),
    action(_LIST, create_key, CONSUMER),
    page(f"{_LIST}/{{key_id}}", show_key, CONSUMER),
    action(f"{_LIST}/{{key_id}}/revoke", revoke_key, CONSUMER),
    action(f"{_LIST}/{{key_id}}/spend-cap", set_key_cap, CONSUMER),
)
