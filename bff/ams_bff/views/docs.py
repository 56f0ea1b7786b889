"""The documentation in the product: how to begin, every call of the REST API, every code of a refusal."""

from collections.abc import Iterable, Mapping

from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.billing_examples import endings, examples
from ams_bff.ui.price_words import GRADUATED, TIER_BORDER, VOLUME
from ams_bff.ui.samples import rest_samples

# The areas as people call them, by whom they are for, in the order in which they are wanted.
_GROUPS: Mapping[str, Mapping[str, str]] = {
    "Using services": {
        "consume": "Calling services",
        "catalog": "Services and marketplace",
        "discovery": "Searching the marketplace",
        "keys": "API keys and access",
        "key_settings": "Settings of keys",
        "grants": "Ending access",
        "exposures": "Leaked keys",
    },
    "Offering services": {
        "revisions": "Changes of services",
        "lifecycle": "Withdrawing and retiring",
        "invitations": "Private services",
        "service_consumers": "Consumers of a service",
        "openapi": "OpenAPI documents",
        "registry": "Images",
    },
    "Usage and money": {
        "usage": "Usage",
        "reports": "Usage reports",
        "alerts": "Alerts",
        "billing": "Prices, spend and invoices",
        "project_spend": "Spend of projects",
    },
    "People": {
        "identity": "Accounts",
        "profiles": "Profiles",
        "projects": "Projects",
        "project_images": "Images of projects",
        "sessions": "Sessions",
        "tokens": "Access tokens",
        "second_factors": "Second factors",
        "notifications": "Notifications",
    },
    "The platform": {
        "team": "Team of admins",
        "settings": "Settings",
        "dead_letters": "Messages that couldn’t be applied",
    },
}
_OTHERS = "More"
_VERIFY = "ams-verify invoice.jsonl --roots roots.json --digest <the invoice's roots digest>"


def _groups(areas: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
    """All areas by their group; one that is in none goes by its name, among others at the end."""
    there = set(areas)
    groups = {
        group: {name: title for name, title in titles.items() if name in there}
        for group, titles in _GROUPS.items()
    }
    unnamed = there.difference(*_GROUPS.values())
    groups[_OTHERS] = {name: name.replace("_", " ").capitalize() for name in sorted(unnamed)}
    return {group: titles for group, titles in groups.items() if titles}


async def show_guide(visit: Visit) -> Response:
    return await visit.render(
        "docs/guide.html", groups=_groups(visit.documentation.areas), samples=rest_samples(visit.public_url)
    )


async def show_billing(visit: Visit) -> Response:
    return await visit.render(
        "docs/billing.html",
        groups=_groups(visit.documentation.areas),
        tier_border=TIER_BORDER,
        graduated=GRADUATED,
        volume=VOLUME,
        examples=examples(),
        endings=endings(),
        verify_sample=_VERIFY,
    )


async def show_area(visit: Visit) -> Response:
    area = visit.documentation.areas.get(visit.parameter("area"))
    if area is None:
        raise NotFoundError("route_not_found", "There is nothing at this path.")
    groups = _groups(visit.documentation.areas)
    titles = {name: title for group in groups.values() for name, title in group.items()}
    return await visit.render("docs/area.html", area=area, groups=groups, area_title=titles[area.name])


async def list_error_codes(visit: Visit) -> Response:
    documentation = visit.documentation
    return await visit.render(
        "docs/errors.html", groups=_groups(documentation.areas), codes=documentation.codes
    )


VIEWS = (
    page("/docs", show_guide),
    page("/docs/billing", show_billing),
    page("/docs/errors", list_error_codes),
    page("/docs/api/{area}", show_area),
)
