"""The documentation in the product: how to begin, every call of the REST API, every code of a refusal."""

from collections.abc import Mapping
from functools import cache

from ams_common.errors import NotFoundError
from ams_rest import openapi, reference
from ams_rest.areas import AREAS
from ams_rest.routes import routes_of
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


@cache
def _areas() -> Mapping[str, reference.Area]:
    """Made at the first visit, and the same for all."""
    return reference.areas_of(openapi.build(routes_of(AREAS), ""))


def _titles() -> Mapping[str, str]:
    """Of all areas; one that isn't among the titles yet goes by its name."""
    names = [
        *(name for name in _TITLES if name in _areas()),
        *(name for name in _areas() if name not in _TITLES),
    ]
    return {name: _TITLES.get(name, name.replace("_", " ").capitalize()) for name in names}


async def show_guide(visit: Visit) -> Response:
    return await visit.render("docs/guide.html", titles=_titles(), samples=rest_samples(visit.public_url))


async def show_area(visit: Visit) -> Response:
    area = _areas().get(visit.parameter("area"))
    if area is None:
        raise NotFoundError("route_not_found", "There is nothing at this path.")
    titles = _titles()
    return await visit.render("docs/area.html", area=area, titles=titles, area_title=titles[area.name])


async def list_error_codes(visit: Visit) -> Response:
    return await visit.render("docs/errors.html", titles=_titles(), codes=reference.error_codes())


VIEWS = (
    page("/docs", show_guide),
    page("/docs/errors", list_error_codes),
    page("/docs/api/{area}", show_area),
)
