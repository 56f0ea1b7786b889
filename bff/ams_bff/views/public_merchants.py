"""A merchant as everybody sees it: who it is, and what it offers."""

from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit

_PAGE_SIZE = 24


async def show_merchant(visit: Visit) -> Response:
    """By slug; who comes with the id, as services name their merchant, is shown the way."""
    wanted = visit.parameter("merchant")
    profile = await visit.api.profiles.GetPublicMerchant(merchant=wanted)
    if wanted != profile.slug:
        return await visit.redirect(f"/marketplace/merchants/{profile.slug}")
    answer = await visit.or_none_if_down(
        visit.api.catalog.ListMarketplaceServices(
            page_size=_PAGE_SIZE, page_token=visit.url.page_token, merchant_id=profile.merchant_id
        )
    )
    return await visit.render(
        "marketplace/merchant.html",
        profile=profile,
        services=answer.services if answer is not None else (),
        next_token=answer.next_page_token if answer is not None else "",
    )


VIEWS = (page("/marketplace/merchants/{merchant}", show_merchant),)
