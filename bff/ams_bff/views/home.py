"""The front door."""

from starlette.responses import Response

from ams_bff.web.navigation import home_of
from ams_bff.web.routing import page
from ams_bff.web.visits import Visit


async def show_home(visit: Visit) -> Response:
    """The overview of who is signed in, the marketplace for everybody else."""
    person = visit.person
    return await visit.redirect(home_of(visit.role) if person is not None else "/marketplace")


VIEWS = (page("/", show_home),)
