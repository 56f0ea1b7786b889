"""A merchant's images, and the tokens to push them with (FR2-MERCH-02)."""

import asyncio

from ams.catalog.v1.events_pb2 import DOCKER
from ams.policy.v1.policy_pb2 import MERCHANT
from ams.registry.v1 import registry_service_pb2 as pb
from ams.registry.v1.events_pb2 import (
    IMAGE_ACTIVE,
    IMAGE_DEPRECATED,
    IMAGE_REJECTED,
    IMAGE_STATUS_UNSPECIFIED,
)
from ams_common.errors import AppError, NotFoundError
from starlette.responses import Response

from ams_bff.http.api import pages
from ams_bff.http.downloads import message_download
from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form

PATH = "/merchant/images"
_PAGE_SIZE = 25
_TOKENS = 10
_COLUMNS = (
    *("image:name", "tag", "status", "size_bytes", "pulls"),
    *("pushed_at", "digest", "rejection_reason", "image_id"),
)
# Never a secret.
_TOKEN_COLUMNS = (
    *("name", "repository", "prefix:token_prefix", "status"),
    *("created_at", "expires_at", "last_used_at", "push_token_id"),
)
_MOST_TOKENS = 200
_MOST_SERVICES = 200
_STATUSES = {"active": IMAGE_ACTIVE, "rejected": IMAGE_REJECTED, "deprecated": IMAGE_DEPRECATED}
_HOURS = [("1", "An hour"), ("24", "A day"), ("168", "A week"), ("720", "30 days"), ("8760", "A year")]
_MOST_HOURS = 8760
# Of the kind that stays until it is dismissed.
_SENT_TWICE = Flash(
    "The form was sent twice, so this token was made already, and its secret went out with the first answer: "
    "AMS can't show it again. If you haven't kept it, revoke this token and make another.",
    "bad",
)


async def list_images(visit: Visit, form: Form | None = None) -> Response:
    images, tokens, listed = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        _ask_tokens(visit, _TOKENS, visit.query.get("tokens", "")),
        visit.api.catalog.ListMerchantServices(page_size=_MOST_SERVICES),
    )
    return await visit.render(
        "merchant/images.html",
        form=form or Form.starting(ttl_hours="24", service_id=visit.query.get("service", "")),
        images=images.images,
        next_token=images.next_page_token,
        tokens=tokens.push_tokens,
        next_tokens=tokens.next_page_token,
        services=[service for service in listed.services if service.type == DOCKER],
        hours=_HOURS,
    )


async def create_token(visit: Visit) -> Response:
    """The only page that ever shows the secret."""
    form = visit.form
    try:
        hours = form.whole("ttl_hours", 1, _MOST_HOURS)
        form.check()
        made = await visit.api.registry.CreatePushToken(
            service_id=form["service_id"],
            name=form["name"],
            ttl_hours=hours,
            idempotency_key=form["idempotency_key"],
        )
    except AppError as error:
        return await list_images(visit, form.refused(error))
    if not made.secret:
        return await visit.redirect(PATH, _SENT_TWICE)
    return await visit.render("merchant/push_token.html", made=made)


async def revoke_token(visit: Visit) -> Response:
    """For good. The visible start of the token is typed first."""
    token = await _find_token(visit, visit.parameter("push_token_id"))
    if visit.form["confirm"] != token.token_prefix:
        return await visit.redirect(PATH, Flash(f"Type {token.token_prefix} to revoke it.", "bad"))
    await visit.api.registry.RevokePushToken(push_token_id=token.push_token_id)
    return await visit.redirect(
        PATH, f"{token.name or token.token_prefix} is revoked. The next push is refused."
    )


async def _find_token(visit: Visit, push_token_id: str) -> pb.PushToken:
    async def ask(page_token: str) -> pb.ListPushTokensResponse:
        return await visit.api.registry.ListPushTokens(page_size=_MOST_TOKENS, page_token=page_token)

    async for listed in pages(ask):
        for token in listed.push_tokens:
            if token.push_token_id == push_token_id:
                return token
    raise NotFoundError("push_token_not_found", "There is no such push token.")


async def deprecate_image(visit: Visit) -> Response:
    """Consumers can't pull the version any more. Its tag is typed first: it can't be undone."""
    image_id = visit.parameter("image_id")
    image = await visit.api.registry.GetImage(image_id=image_id)
    if visit.form["confirm"] != image.tag:
        return await visit.redirect(PATH, Flash(f"Type {image.tag} to deprecate it.", "bad"))
    await visit.api.registry.DeprecateImage(image_id=image_id)
    return await visit.redirect(PATH, f"{image.name}:{image.tag} can't be pulled any more.")


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListImagesResponse:
    return await visit.api.registry.ListImages(
        page_size=size,
        page_token=page_token,
        service_id=visit.query.get("service", ""),
        status=_STATUSES.get(visit.query.get("status", ""), IMAGE_STATUS_UNSPECIFIED),
    )


async def _ask_tokens(visit: Visit, size: int, page_token: str) -> pb.ListPushTokensResponse:
    return await visit.api.registry.ListPushTokens(
        page_size=size, page_token=page_token, service_id=visit.query.get("service", "")
    )


VIEWS = (
    page(PATH, list_images, MERCHANT),
    message_download(PATH, "images", _COLUMNS, _ask, "images", MERCHANT),
    message_download(f"{PATH}/tokens", "push-tokens", _TOKEN_COLUMNS, _ask_tokens, "push_tokens", MERCHANT),
    action(f"{PATH}/tokens", create_token, MERCHANT),
    action(f"{PATH}/tokens/{{push_token_id}}/revoke", revoke_token, MERCHANT),
    action(f"{PATH}/{{image_id}}/deprecate", deprecate_image, MERCHANT),
)
