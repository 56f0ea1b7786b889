"""The table of what each role of a project may do, as people were told it."""

import pytest
from ams.identity.v1.events_pb2 import ProjectRole
from ams_common.project_rights import RIGHTS, ProjectRight, may, roles_with

# Letters of who may: owner, manager, member, viewer.
WHO_MAY = {
    ProjectRight.SEE_PROJECT: "omwv",
    ProjectRight.SEE_KEYS: "omwv",
    ProjectRight.SEE_USAGE: "omwv",
    ProjectRight.SEE_SPEND: "omwv",
    ProjectRight.CREATE_KEYS: "omw",
    ProjectRight.CHANGE_OWN_KEYS: "omw",
    ProjectRight.CHANGE_ANY_KEYS: "om",
    ProjectRight.REQUEST_ACCESS: "omw",
    ProjectRight.END_ACCESS: "om",
    ProjectRight.PULL_IMAGES: "omw",
    ProjectRight.SET_ALERTS: "omw",
    ProjectRight.SET_SPEND_CAP: "om",
    ProjectRight.INVITE_MEMBERS: "om",
    ProjectRight.CHANGE_MEMBERS: "om",
    ProjectRight.CHANGE_PROJECT: "om",
    ProjectRight.HAND_OVER: "o",
    ProjectRight.CLOSE_PROJECT: "o",
}
LETTERS = {
    ProjectRole.PROJECT_OWNER: "o",
    ProjectRole.PROJECT_MANAGER: "m",
    ProjectRole.PROJECT_MEMBER: "w",
    ProjectRole.PROJECT_VIEWER: "v",
    ProjectRole.PROJECT_ROLE_UNSPECIFIED: "-",
    None: "-",
}


@pytest.mark.parametrize("right", ProjectRight)
@pytest.mark.parametrize("role", LETTERS)
def test_each_role_has_the_rights_of_the_table(
    role: ProjectRole.ValueType | None, right: ProjectRight
) -> None:
    assert may(role, right) == (LETTERS[role] in WHO_MAY[right])


def test_every_right_is_somebodys() -> None:
    assert set(RIGHTS) == set(ProjectRight)
    assert all(roles_with(right) for right in ProjectRight)
