"""The documentation in the product: how to begin, every call of the REST API, every code of a refusal."""

from collections.abc import Iterable, Mapping

from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.samples import rest_samples

# The areas, as people call them, in the order in which they are wanted.
_TITLES = {
    "consume": "Calling services",
    "catalog": "Services and marketplace",
    "keys": "API keys and access",
    "usage": "Usage",
    "reports": "Usage reports",
    "alerts": "Alerts",
    "billing": "Prices, spend and invoices",
    "registry": "Images",
    "identity": "Accounts",
}


def _titles(areas: Iterable[str]) -> Mapping[str, str]:
    """Of all areas; one that isn't among the titles goes by its name."""
    names = [*(name for name in _TITLES if name in areas), *(name for name in areas if name not in _TITLES)]
    return {name: _TITLES.get(name, name.replace("_", " ").capitalize()) for name in names}


async def show_guide(visit: Visit) -> Response:
    return await visit.render(
        "docs/guide.html", titles=_titles(visit.documentation.areas), samples=rest_samples(visit.public_url)
    )


async def show_area(visit: Visit) -> Response:
    area = visit.documentation.areas.get(visit.parameter("area"))
    if area is None:
        raise NotFoundError("route_not_found", "There is nothing at this path.")
    titles = _titles(visit.documentation.areas)
    return await visit.render("docs/area.html", area=area, titles=titles, area_title=titles[area.name])


async def list_error_codes(visit: Visit) -> Response:
    documentation = visit.documentation
    return await visit.render(
        "docs/errors.html", titles=_titles(documentation.areas), codes=documentation.codes
    )


VIEWS = (
    page("/docs", show_guide),
    page("/docs/errors", list_error_codes),
    page("/docs/api/{area}", show_area),
)
