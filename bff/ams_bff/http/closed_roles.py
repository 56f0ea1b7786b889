"""A role in which an admin has stopped an account: its area says so, until the role is open again."""

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import MERCHANT, Role
from ams_common.errors import AppError, PermissionDeniedError
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

from ams_bff.http.visits import Visit
from ams_bff.ui import navigation


class RoleClosedError(PermissionDeniedError):
    """The account is suspended or blocked in the role."""

    def __init__(self, role: Role.ValueType, user: pb.User) -> None:
        super().__init__("role_closed", "An admin has stopped this account.")
        self.role = role
        self.user = user

    @property
    def since(self) -> Timestamp | None:
        """When it was stopped, where that is known."""
        user = self.user
        since = user.merchant_standing_since if self.role == MERCHANT else user.consumer_standing_since
        return since if since.seconds else None


async def open_again(visit: Visit, role: Role.ValueType | None) -> None:
    """Looks whether a role that was closed is open by now, and goes on in it then: nobody has to sign in
    anew. Raises RoleClosedError while it is closed."""
    person = visit.session.person
    if person is None or role is None or role not in person.closed_roles:
        return
    user = await visit.api.identity.GetMe()
    if role not in user.roles:
        raise RoleClosedError(role, user)
    await visit.session.act_as(role)


async def closed_by_now(visit: Visit, error: AppError) -> RoleClosedError | None:
    """Why a page was refused, when it is that its role is closed; also when an admin has closed it while
    the person was signed in, and a service was the first to say no."""
    if isinstance(error, RoleClosedError) or not isinstance(error, PermissionDeniedError):
        return error if isinstance(error, RoleClosedError) else None
    try:
        await open_again(visit, navigation.role_of_path(visit.path))
    except RoleClosedError as closed:
        return closed
    return None


async def closed_page(visit: Visit, error: RoleClosedError) -> Response:
    """What happened, what still works and whom to write to."""
    return await visit.render("errors/closed.html", 403, closed_role=error.role, since=error.since)
