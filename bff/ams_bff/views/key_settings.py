"""What may be changed about a key after it was made: its settings, its secret, and whether it works."""

from collections.abc import Iterable, Mapping
from typing import Any

from ams.catalog.v1.events_pb2 import DOCKER
from ams.keys.v1 import key_settings_service_pb2 as settings_pb
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import CallRule
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import AppError, FailedPreconditionError, PermissionDeniedError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.effects import effect_flash, late_text
from ams_bff.views.naming import know_services, name_of

PATH = "/dashboard/api-keys/{key_id}"
LOSSES = {
    pb.LOSS_REASON_UNSPECIFIED: "It can’t be called with this key.",
    pb.ACCESS_ENDED: "The access to it has ended.",
    pb.REVOKED_BY_MERCHANT: "Its merchant has taken this key’s right to it.",
    pb.BLOCKED_BY_MERCHANT: "Its merchant has blocked you.",
    pb.NOT_FOR_MEMBER: "Whoever made the key may not use it in the project any more.",
}
# In minutes, and in words.
_OVERLAPS = (
    (0, "At once"),
    (15, "After 15 minutes"),
    (60, "After an hour"),
    (360, "After 6 hours"),
    (1440, "After a day"),
)
_ROTATED_TWICE = Flash(
    "The form was sent twice, so the key was rotated already, and its secret went out with the first answer: "
    "AMS can’t show it again. If you haven’t kept it, rotate once more.",
    "bad",
)
_NO_SUCH_SERVICE = Flash("Nothing is saved: the key can’t call that service any more.", "bad")
_FORBIDDEN = PermissionDeniedError


async def key_activities(visit: Visit, keys: Iterable[pb.Key]) -> Mapping[str, settings_pb.KeyActivity]:
    """When keys were last used, by id; none while that can't be found out."""
    key_ids = [key.key_id for key in keys]
    if not key_ids:
        return {}
    answer = await visit.or_none_if_down(visit.api.key_settings.BatchGetKeyActivity(key_ids=key_ids))
    return {each.key_id: each for each in answer.activities} if answer is not None else {}


def networks_of(form: Form) -> list[str]:
    """What was typed, a line or a comma each."""
    return [
        text.strip()
        for line in form["allowed_networks"].split("\n")
        for text in line.split(",")
        if text.strip()
    ]


def rules_of(form: Form) -> list[CallRule]:
    """What was typed, a line each: "GET,POST /v1/*", or a path alone for any method."""
    rules = []
    for line in form["allowed_calls"].split("\n"):
        methods, _, path = line.strip().rpartition(" ")
        if path:
            named = [each.strip().upper() for each in methods.replace(" ", ",").split(",") if each.strip()]
            rules.append(CallRule(methods=[] if named == ["ANY"] else named, path=path))
    return rules


def typed_rules(rules: Iterable[CallRule]) -> str:
    """As `rules_of` reads them."""
    return "\n".join(f"{','.join(rule.methods) or 'ANY'} {rule.path}" for rule in rules)


async def show_settings(visit: Visit, refused: tuple[str, Form] | None = None) -> Response:
    """A card for each setting. `refused`: the name of the one that was sent, and its form."""
    key = await visit.api.keys.GetKey(key_id=visit.parameter("key_id"))
    requests = await all_requests(visit)
    known = await know_services(visit, [*approved_services(requests, key.project_id), *key.service_ids])
    terms = {each.service_id: each for each in key.service_terms}
    forms: dict[str, Form] = {
        "name": Form.starting(etag=key.etag, name=key.name, description=key.description),
        "services": Form.starting(etag=key.etag, service_ids=list(key.service_ids)),
        "networks": Form.starting(etag=key.etag, allowed_networks="\n".join(key.allowed_networks)),
    }
    for service_id in key.service_ids:
        rules = terms[service_id].allowed_calls if service_id in terms else ()
        forms[f"calls-{service_id}"] = Form.starting(etag=key.etag, allowed_calls=typed_rules(rules))
    if refused is not None:
        name, form = refused
        if name not in forms:
            return await visit.redirect(_path(visit), _NO_SUCH_SERVICE)
        forms[name] = form.beside(forms[name])
    return await visit.render(
        "keys/settings.html",
        refused[1].status if refused is not None else None,
        key=key,
        forms=forms,
        offered=sorted(known.values(), key=lambda service: service.name.casefold()),
        apis=[
            (service_id, name_of(known, service_id))
            for service_id in key.service_ids
            if service_id not in known or known[service_id].type != DOCKER
        ],
    )


async def rename_key(visit: Visit) -> Response:
    form = visit.form
    try:
        if not form["name"]:
            form.refuse("name", "is required")
        form.check()
        await visit.api.key_settings.UpdateKey(
            key_id=visit.parameter("key_id"),
            name=form["name"],
            description=form["description"],
            etag=form["etag"],
        )
    except AppError as error:
        return await show_settings(visit, ("name", form.refused(error, _FORBIDDEN)))
    return await _back(visit, "The key’s name and description are changed.")


async def set_services(visit: Visit) -> Response:
    form = visit.form
    try:
        if not form.all("service_ids"):
            form.refuse("service_ids", "is required: choose what the key may call, or revoke the key")
        form.check()
        changed = await visit.api.key_settings.SetKeyServices(
            key_id=visit.parameter("key_id"), service_ids=form.all("service_ids"), etag=form["etag"]
        )
    except AppError as error:
        return await show_settings(visit, ("services", form.refused(error, _FORBIDDEN)))
    return await _back(visit, effect_flash("The key’s services are changed.", changed, visit.zone))


async def set_networks(visit: Visit) -> Response:
    form = visit.form
    try:
        changed = await visit.api.key_settings.SetAllowedNetworks(
            key_id=visit.parameter("key_id"), allowed_networks=networks_of(form), etag=form["etag"]
        )
    except AppError as error:
        return await show_settings(visit, ("networks", form.refused(error, _FORBIDDEN)))
    text = "From where the key may be used is changed."
    return await _back(visit, effect_flash(text, changed, visit.zone))


async def set_calls(visit: Visit) -> Response:
    form, service_id = visit.form, visit.parameter("service_id")
    try:
        changed = await visit.api.key_settings.SetAllowedCalls(
            key_id=visit.parameter("key_id"),
            service_id=service_id,
            allowed_calls=rules_of(form),
            etag=form["etag"],
        )
    except AppError as error:
        return await show_settings(visit, (f"calls-{service_id}", form.refused(error, _FORBIDDEN)))
    return await _back(visit, effect_flash("Which calls the key may make is changed.", changed, visit.zone))


async def disable_key(visit: Visit) -> Response:
    """What can be undone asks for nothing, and offers to."""
    path = _path(visit)
    try:
        key = await visit.api.key_settings.DisableKey(key_id=visit.parameter("key_id"))
    except FailedPreconditionError as error:
        return await visit.redirect(path, Flash(error.message, "plain"))
    text = f"“{key.name}” is disabled."
    return await visit.redirect(path, effect_flash(text, key, visit.zone, undo_url=f"{path}/enable"))


async def enable_key(visit: Visit) -> Response:
    path = _path(visit)
    try:
        key = await visit.api.key_settings.EnableKey(key_id=visit.parameter("key_id"))
    except FailedPreconditionError as error:
        return await visit.redirect(path, Flash(error.message, "plain"))
    return await visit.redirect(path, f"“{key.name}” works again.")


async def end_previous(visit: Visit) -> Response:
    path = _path(visit)
    try:
        key = await visit.api.key_settings.EndPreviousSecret(key_id=visit.parameter("key_id"))
    except FailedPreconditionError as error:
        return await visit.redirect(path, Flash(error.message, "plain"))
    flash = effect_flash("The earlier secret doesn’t work any more.", key, visit.zone)
    return await visit.redirect(path, flash)


async def show_rotation(visit: Visit, form: Form | None = None) -> Response:
    key = await visit.api.keys.GetKey(key_id=visit.parameter("key_id"))
    return await visit.render(
        "keys/rotate.html", key=key, overlaps=_OVERLAPS, form=form or Form.starting(overlap_minutes="60")
    )


async def rotate_key(visit: Visit) -> Response:
    """Shows the new secret, once."""
    form, key_id = visit.form, visit.parameter("key_id")
    try:
        overlap_minutes = form.whole("overlap_minutes", 0, 1440)
        form.check()
        # Before: whatever failed after it would take the only sight of the secret along.
        key = await visit.api.keys.GetKey(key_id=key_id)
        known = await know_services(visit, key.service_ids)
        rotated = await visit.api.key_settings.RotateKey(
            key_id=key_id, overlap_minutes=overlap_minutes, idempotency_key=form["idempotency_key"]
        )
    except AppError as error:
        return await show_rotation(visit, form.refused(error, _FORBIDDEN))
    if not rotated.secret:
        return await visit.redirect(_path(visit), _ROTATED_TWICE)
    services: list[Any] = [service for service in known.values() if service.type != DOCKER]
    return await visit.render(
        "keys/rotated.html",
        key=rotated.key,
        secret=rotated.secret,
        apis=services,
        late=late_text(rotated.key, visit.zone),
    )


def _path(visit: Visit) -> str:
    return PATH.format(key_id=visit.parameter("key_id"))


async def _back(visit: Visit, said: str | Flash) -> Response:
    return await visit.redirect(f"{_path(visit)}/settings", said)


VIEWS = (
    page(f"{PATH}/settings", show_settings, CONSUMER),
    action(f"{PATH}/settings/name", rename_key, CONSUMER),
    action(f"{PATH}/settings/services", set_services, CONSUMER),
    action(f"{PATH}/settings/networks", set_networks, CONSUMER),
    action(f"{PATH}/settings/calls/{{service_id}}", set_calls, CONSUMER),
    action(f"{PATH}/disable", disable_key, CONSUMER),
    action(f"{PATH}/enable", enable_key, CONSUMER),
    action(f"{PATH}/end-previous-secret", end_previous, CONSUMER),
    page(f"{PATH}/rotate", show_rotation, CONSUMER),
    action(f"{PATH}/rotate", rotate_key, CONSUMER),
)
