"""Where somebody is signed in, and signing out there."""

from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.navigation import SETTINGS

_PATH = "/settings/sessions"
_PAGE_SIZE = 50


async def show_settings(visit: Visit) -> Response:
    """The first of the settings' pages."""
    return await visit.redirect(SETTINGS[0][1])


async def list_sessions(visit: Visit) -> Response:
    answer = await visit.api.sessions.ListSessions(page_size=_PAGE_SIZE, page_token=visit.url.page_token)
    return await visit.render(
        "settings/sessions.html", sessions=answer.sessions, next_token=answer.next_page_token
    )


async def end_session(visit: Visit) -> Response:
    """One that has ended meanwhile is what was wanted."""
    try:
        await visit.api.sessions.EndSession(session_id=visit.parameter("session_id"))
    except NotFoundError:
        return await visit.redirect(_PATH, "That session has ended already.")
    return await visit.redirect(_PATH, "The session has ended.")


async def end_others(visit: Visit) -> Response:
    ended = (await visit.api.sessions.EndOtherSessions()).ended_count
    return await visit.redirect(
        _PATH, f"{ended} other {'session has' if ended == 1 else 'sessions have'} ended."
    )


VIEWS = (
    page("/settings", show_settings, is_for_members=True),
    page(_PATH, list_sessions, is_for_members=True),
    action(f"{_PATH}/{{session_id}}/end", end_session, is_for_members=True),
    action(f"{_PATH}/end-others", end_others, is_for_members=True),
)
