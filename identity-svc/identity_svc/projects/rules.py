"""What may be done to a project: its bounds, and what is said when something can't be. Pure.

Which role has which right is ams_common.project_rights.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ams.identity.v1.events_pb2 import (
    PROJECT_MANAGER,
    PROJECT_MEMBER,
    PROJECT_OWNER,
    PROJECT_VIEWER,
    ProjectRole,
)
from ams_common.errors import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)

# Enough for teams, and little enough that a project fits into one message and one page.
MAX_OWNED = 20
MAX_JOINED = 100
MAX_MEMBERS = 50

INVITATION_TTL = timedelta(days=14)
# Of one invitation, and between two of them: whoever invites writes to strangers in our name.
MAX_SENDINGS = 5
SENDING_PAUSE = timedelta(minutes=1)
# Of one person: invitations within a day.
MAX_INVITATIONS_A_DAY = 30
DAY = timedelta(days=1)

# What somebody can be made; an owner is made by handing over only.
_GIVEN = (PROJECT_MANAGER, PROJECT_MEMBER, PROJECT_VIEWER)


def check_role(role: ProjectRole.ValueType) -> None:
    """Raises InvalidArgumentError for a role that nobody is given."""
    if role not in _GIVEN:
        violation = FieldViolation("role", "must be manager, member or viewer")
        raise InvalidArgumentError(
            "project_role_invalid", "role must be manager, member or viewer.", [violation]
        )


def check_not_owner(role: ProjectRole.ValueType) -> None:
    """Raises FailedPreconditionError when the member to be changed or removed is the owner."""
    if role == PROJECT_OWNER:
        raise FailedPreconditionError(
            "project_owner_stays", "The owner stays the owner until the project is handed over or closed."
        )


def check_bound(count: int, bound: int, code: str, message: str) -> None:
    """Raises ResourceExhaustedError when there are as many as may be."""
    if count >= bound:
        raise ResourceExhaustedError(code, message)


def check_sending(times_sent: int, sent_at: datetime, now: datetime) -> None:
    """Raises ResourceExhaustedError when an invitation can't be sent again, or not yet."""
    if times_sent >= MAX_SENDINGS:
        raise ResourceExhaustedError(
            "project_invitation_sent_often",
            f"This invitation was sent {MAX_SENDINGS} times. Revoke it and invite again.",
        )
    if now < sent_at + SENDING_PAUSE:
        raise ResourceExhaustedError(
            "project_invitation_sent_just_now", "This invitation was sent just now. Try again in a minute."
        )


def project_closed() -> FailedPreconditionError:
    return FailedPreconditionError("project_closed", "This project is closed.")


def member_not_found() -> NotFoundError:
    return NotFoundError("project_member_not_found", "There is no such member in this project.")


def invitation_not_found() -> NotFoundError:
    """The same for one that is over, for one that is for another address, and for none."""
    return NotFoundError(
        "project_invitation_not_found",
        "There is no open invitation like this for the address that you are signed in with.",
    )


def unique(service_ids: Sequence[str]) -> Sequence[str]:
    """Each once, sorted."""
    return sorted(set(service_ids))
