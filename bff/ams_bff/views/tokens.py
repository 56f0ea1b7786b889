"""Personal access tokens: made for scripts, shown once, revoked."""

from ams.identity.v1 import token_service_pb2 as pb
from ams.policy.v1.policy_pb2 import Role
from ams_common.clock import from_timestamp, utc_now
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.ui.navigation import ROLE_LABELS

_PATH = "/settings/tokens"
_PAGE_SIZE = 50
_TTL_DAYS = (7, 30, 90, 180, 365)
_SCOPES = {"read": pb.TOKEN_READ, "write": pb.TOKEN_WRITE}
_SENT_TWICE = Flash(
    "The form was sent twice, so this token was made already, and its secret went out with the first answer: "
    "AMS can't show it again. If you haven't kept it, revoke this token and make another.",
    "bad",
)


async def list_tokens(visit: Visit) -> Response:
    answer = await visit.api.tokens.ListTokens(page_size=_PAGE_SIZE, page_token=visit.url.page_token)
    return await visit.render(
        "settings/tokens.html",
        tokens=[(token, _state(token)) for token in answer.tokens],
        next_token=answer.next_page_token,
        read_only=pb.TOKEN_READ,
    )


def _state(token: pb.PersonalAccessToken) -> str:
    if token.HasField("revoked_at"):
        return "Revoked"
    return "Active" if from_timestamp(token.expires_at) > utc_now() else "Expired"


async def show_form(visit: Visit, form: Form | None = None) -> Response:
    person = visit.session.person
    assert person is not None, "a page for who is signed in"
    form = form or Form.starting(role=str(int(visit.role)), scope="read", ttl_days="90")
    held = [(str(int(role)), ROLE_LABELS[role]) for role in person.roles]
    return await visit.render("settings/new_token.html", form=form, held=held, ttl_days=_TTL_DAYS)


async def create_token(visit: Visit) -> Response:
    """Shows the secret, once. A form that is sent again makes no second token and shows no secret."""
    form = visit.form
    try:
        ttl_days = form.whole("ttl_days", 1, 366)
        if form["scope"] not in _SCOPES:
            form.refuse("scope", "is required: choose what the token may do")
        if not form["name"]:
            form.refuse("name", "is required")
        role = form.whole("role", 1, max(Role.values()))
        form.check()
        made = await visit.api.tokens.CreateToken(
            name=form["name"],
            role=Role.ValueType(role),
            scope=_SCOPES[form["scope"]],
            ttl_days=ttl_days,
            idempotency_key=form["idempotency_key"],
        )
    except AppError as error:
        return await show_form(visit, form.refused(error))
    if not made.secret:
        return await visit.redirect(_PATH, _SENT_TWICE)
    return await visit.render("settings/token_secret.html", token=made.token, secret=made.secret)


async def revoke_token(visit: Visit) -> Response:
    token = await visit.api.tokens.RevokeToken(token_id=visit.parameter("token_id"))
    return await visit.redirect(_PATH, f"“{token.name}” is revoked. Nothing is done with it any more.")


VIEWS = (
    page(_PATH, list_tokens, is_for_members=True),
    page(f"{_PATH}/new", show_form, is_for_members=True),
    action(f"{_PATH}/new", create_token, is_for_members=True),
    action(f"{_PATH}/{{token_id}}/revoke", revoke_token, is_for_members=True),
)
