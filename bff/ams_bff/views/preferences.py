"""How a person likes to see AMS: the role they act in, light or dark."""

from ams.policy.v1.policy_pb2 import Role
from ams_common.errors import InvalidArgumentError
from starlette.responses import Response

from ams_bff.http import cookies
from ams_bff.http.routing import action
from ams_bff.http.visits import Visit, safe_path
from ams_bff.ui.navigation import home_of


async def choose_role(visit: Visit) -> Response:
    """Acts in another role from now on, starting at its overview."""
    text = visit.form["role"]
    if text not in {str(number) for number in Role.values()}:
        raise InvalidArgumentError("role_unknown", "There is no such role.")
    role = Role.ValueType(int(text))
    await visit.session.act_as(role)
    return await visit.redirect(home_of(role))


async def choose_theme(visit: Visit) -> Response:
    """Light, dark or as the system says, from now on in this browser."""
    theme = visit.form["theme"]
    if theme not in cookies.THEMES:
        raise InvalidArgumentError("theme_unknown", "There is no such theme.")
    answer = await visit.redirect(safe_path(visit.form["back"]) or "/")
    cookies.keep_theme(answer, theme, visit.is_https)
    return answer


VIEWS = (action("/role", choose_role, is_for_members=True), action("/theme", choose_theme))
