"""What a merchant does about who may use its services: requests, blocks, limits and keys, by pseudonym."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import service_consumers_service_pb2 as pb
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.effects import effect_flash
from ams_bff.views.naming import name_of, service_names

REQUESTS_PATH = "/merchant/access-requests"
_CONSUMER = "/merchant/consumers/{pseudonym}"
_ACCESS = f"{_CONSUMER}/services/{{service_id}}"
_PAGE_SIZE = 50
_MOST = 1_000_000_000_000
_STATUSES = {"approved": keys_pb.APPROVED, "denied": keys_pb.DENIED, "withdrawn": keys_pb.WITHDRAWN}


async def list_requests(visit: Visit, refused: tuple[str, Form] | None = None) -> Response:
    """Those that wait, or by status. `refused`: a decision that was, by its request."""
    answer = await visit.api.service_consumers.ListMerchantAccessRequests(
        page_size=_PAGE_SIZE,
        page_token=visit.url.page_token,
        status=_STATUSES.get(visit.query.get("status", ""), keys_pb.PENDING),
    )
    names = await service_names(visit, (each.service_id for each in answer.access_requests))
    return await visit.render(
        "merchant/access_requests.html",
        requests=[(each, name_of(names, each.service_id)) for each in answer.access_requests],
        refused_id=refused[0] if refused else "",
        form=refused[1] if refused else Form(),
        next_token=answer.next_page_token,
    )


async def approve(visit: Visit) -> Response:
    return await _decide(visit, visit.api.service_consumers.ApproveMerchantAccess, "has access now.")


async def deny(visit: Visit) -> Response:
    return await _decide(visit, visit.api.service_consumers.DenyMerchantAccess, "was denied access.")


async def _decide(visit: Visit, call: Any, what: str) -> Response:
    request_id = visit.parameter("access_request_id")
    try:
        decided = await call(access_request_id=request_id, reason=visit.form["reason"])
    except FailedPreconditionError as error:
        return await visit.redirect(REQUESTS_PATH, Flash(error.message, "plain"))
    except AppError as error:
        return await list_requests(visit, (request_id, visit.form.refused(error)))
    return await visit.redirect(REQUESTS_PATH, f"{decided.consumer} {what}")


async def load_access(visit: Visit) -> Mapping[str, Any]:
    """What the page of a consumer shows of its access and keys; of one who has none, nothing."""
    try:
        detail = await visit.or_none_if_down(
            visit.api.service_consumers.GetServiceConsumer(consumer=visit.parameter("pseudonym"))
        )
    except NotFoundError:
        detail = None
    if detail is None:
        return {"access": [], "service_keys": []}
    names = await service_names(visit, (each.service_id for each in detail.services))
    return {
        "access": [(each, name_of(names, each.service_id)) for each in detail.services],
        "service_keys": [(key, name_of(names, key.service_id)) for key in detail.keys],
    }


async def show_access(visit: Visit, form: Form | None = None) -> Response:
    """What may be done about one consumer of one service. `form`: limits that were refused."""
    pseudonym, service_id = visit.parameter("pseudonym"), visit.parameter("service_id")
    detail, names = await asyncio.gather(
        visit.api.service_consumers.GetServiceConsumer(consumer=pseudonym),
        service_names(visit, [service_id]),
    )
    found = [each for each in detail.services if each.service_id == service_id]
    if not found:
        raise NotFoundError("consumer_not_found", "There is no such consumer among yours.")
    limits = found[0].limits
    stored = Form.starting(
        etag=found[0].etag,
        per_minute=str(limits.per_minute or ""),
        per_day=str(limits.per_day or ""),
        per_month=str(limits.per_month or ""),
    )
    return await visit.render(
        "merchant/consumer_access.html",
        form.status if form is not None else None,
        pseudonym=pseudonym,
        consumer=found[0],
        service_name=name_of(names, service_id),
        keys=[key for key in detail.keys if key.service_id == service_id],
        form=form.beside(stored) if form is not None else stored,
    )


async def block(visit: Visit) -> Response:
    call = visit.api.service_consumers.BlockServiceConsumer(**_named(visit), reason=visit.form["reason"])
    return await _done(visit, call, "The consumer is blocked.", "unblock")


async def unblock(visit: Visit) -> Response:
    call = visit.api.service_consumers.UnblockServiceConsumer(**_named(visit))
    return await _done(visit, call, "The consumer is unblocked.")


async def end_access(visit: Visit) -> Response:
    call = visit.api.service_consumers.EndServiceConsumerAccess(**_named(visit), reason=visit.form["reason"])
    return await _done(visit, call, "The consumer’s access has ended.")


async def revoke_key(visit: Visit) -> Response:
    call = visit.api.service_consumers.RevokeServiceKey(**_named(visit), key=visit.parameter("key"))
    return await _done(visit, call, "The key can’t call this service any more.")


async def set_limits(visit: Visit) -> Response:
    form = visit.form
    try:
        limits = {
            name: form.whole(name, 1, most) if form[name] else 0
            for name, most in (("per_minute", 1_000_000), ("per_day", _MOST), ("per_month", _MOST))
        }
        form.check()
        changed = await visit.api.service_consumers.SetServiceConsumerLimits(
            **_named(visit), limits=pb.ConsumerLimits(**limits), etag=form["etag"]
        )
    except AppError as error:
        return await show_access(visit, form.refused(error))
    flash = effect_flash("The limits hold for this consumer.", changed, visit.zone)
    return await visit.redirect(_path(visit), flash)


async def _done(visit: Visit, call: Any, text: str, undo: str = "") -> Response:
    path = _path(visit)
    try:
        answer = await call
    except FailedPreconditionError as error:
        # Somebody else, or a second click, has done it already: that is no fault.
        return await visit.redirect(path, Flash(error.message, "plain"))
    undo_url = f"{path}/{undo}" if undo else ""
    return await visit.redirect(path, effect_flash(text, answer, visit.zone, undo_url=undo_url))


def _named(visit: Visit) -> dict[str, str]:
    return {"service_id": visit.parameter("service_id"), "consumer": visit.parameter("pseudonym")}


def _path(visit: Visit) -> str:
    return _ACCESS.format(pseudonym=visit.parameter("pseudonym"), service_id=visit.parameter("service_id"))


VIEWS = (
    page(REQUESTS_PATH, list_requests, MERCHANT),
    action(f"{REQUESTS_PATH}/{{access_request_id}}/approve", approve, MERCHANT),
    action(f"{REQUESTS_PATH}/{{access_request_id}}/deny", deny, MERCHANT),
    page(_ACCESS, show_access, MERCHANT),
    action(f"{_ACCESS}/block", block, MERCHANT),
    action(f"{_ACCESS}/unblock", unblock, MERCHANT),
    action(f"{_ACCESS}/end", end_access, MERCHANT),
    action(f"{_ACCESS}/limits", set_limits, MERCHANT),
    action(f"{_ACCESS}/keys/{{key}}/revoke", revoke_key, MERCHANT),
)
