"""The root path."""

from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.navigation import home_of


async def show_home(visit: Visit) -> Response:
    person = visit.session.person
    return await visit.redirect(home_of(visit.role) if person is not None else "/marketplace")


VIEWS = (page("/", show_home),)
