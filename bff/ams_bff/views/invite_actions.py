"""Taking invites back, and sending them again."""

from collections.abc import Awaitable
from typing import Protocol

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.identity_service_pb2 import INVITE_REVOKED
from ams_common.errors import FailedPreconditionError
from starlette.responses import Response

from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit


class InviteChange(Protocol):
    def __call__(self, *, invite_id: str) -> Awaitable[pb.Invite]: ...


async def change_invite(visit: Visit, path: str, change: InviteChange) -> Response:
    """Does it to the invite of the path, and goes back to the list at `path`."""
    try:
        invite = await change(invite_id=visit.parameter("invite_id"))
    except FailedPreconditionError as error:
        # Accepted or revoked meanwhile: the list shows it.
        return await visit.redirect(path, Flash(error.message, "plain"))
    if invite.state == INVITE_REVOKED:
        return await visit.redirect(
            path, f"The invite to {invite.email} is revoked. Its code is good for nothing."
        )
    return await visit.redirect(
        path, f"A new code is on its way to {invite.email}. The old one is good for nothing."
    )
