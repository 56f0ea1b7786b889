"""What a member of a project may do by its role (FR3-CONS-04): the one table, for every service and page.

identity-svc owns projects and their members. Whoever keeps something of a project (keys, access, spend caps,
alerts, reports) asks `may` with the role that its own copy of the members holds.
"""

import enum
from collections.abc import Mapping

from ams.identity.v1.events_pb2 import ProjectRole

OWNER = ProjectRole.PROJECT_OWNER
MANAGER = ProjectRole.PROJECT_MANAGER
MEMBER = ProjectRole.PROJECT_MEMBER
VIEWER = ProjectRole.PROJECT_VIEWER

_ALL = frozenset({OWNER, MANAGER, MEMBER, VIEWER})
_USERS = _ALL - {VIEWER}
_MANAGERS = frozenset({OWNER, MANAGER})


class ProjectRight(enum.Enum):
    """Something that a role allows in a project."""

    SEE_PROJECT = "see_project"
    SEE_KEYS = "see_keys"
    SEE_USAGE = "see_usage"
    SEE_SPEND = "see_spend"
    CREATE_KEYS = "create_keys"
    # Those that one has made oneself.
    CHANGE_OWN_KEYS = "change_own_keys"
    CHANGE_ANY_KEYS = "change_any_keys"
    REQUEST_ACCESS = "request_access"
    END_ACCESS = "end_access"
    PULL_IMAGES = "pull_images"
    SET_ALERTS = "set_alerts"
    SET_SPEND_CAP = "set_spend_cap"
    INVITE_MEMBERS = "invite_members"
    CHANGE_MEMBERS = "change_members"
    CHANGE_PROJECT = "change_project"
    HAND_OVER = "hand_over"
    CLOSE_PROJECT = "close_project"


RIGHTS: Mapping[ProjectRight, frozenset[ProjectRole.ValueType]] = {
    ProjectRight.SEE_PROJECT: _ALL,
    ProjectRight.SEE_KEYS: _ALL,
    ProjectRight.SEE_USAGE: _ALL,
    ProjectRight.SEE_SPEND: _ALL,
    ProjectRight.CREATE_KEYS: _USERS,
    ProjectRight.CHANGE_OWN_KEYS: _USERS,
    ProjectRight.CHANGE_ANY_KEYS: _MANAGERS,
    ProjectRight.REQUEST_ACCESS: _USERS,
    ProjectRight.END_ACCESS: _MANAGERS,
    ProjectRight.PULL_IMAGES: _USERS,
    ProjectRight.SET_ALERTS: _USERS,
    ProjectRight.SET_SPEND_CAP: _MANAGERS,
    ProjectRight.INVITE_MEMBERS: _MANAGERS,
    ProjectRight.CHANGE_MEMBERS: _MANAGERS,
    ProjectRight.CHANGE_PROJECT: _MANAGERS,
    ProjectRight.HAND_OVER: frozenset({OWNER}),
    ProjectRight.CLOSE_PROJECT: frozenset({OWNER}),
}


def may(role: ProjectRole.ValueType | None, right: ProjectRight) -> bool:
    """Whether that role has that right; None is no member's role, and has none."""
    return role in RIGHTS[right]


def roles_with(right: ProjectRight) -> list[int]:
    """The roles that have it, as numbers in ascending order: a parameter of the statements that load rows."""
    return sorted(RIGHTS[right])
