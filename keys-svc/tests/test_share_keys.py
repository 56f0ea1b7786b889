"""Keys and access of projects: what members may do by their roles, and what ends with them."""

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import pytest
from ams.identity.v1.events_pb2 import PROJECT_OWNER, IdentityEvent, ProjectChanged, ProjectRole
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_REVOKED, CallRule
from ams.keys.v1.keys_service_pb2 import NOT_FOR_MEMBER
from ams_common import apikeys
from ams_common.database import Database
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.project_rights import ProjectRight, may
from ams_common.snapshots import key_snapshot_key
from google.type.money_pb2 import Money
from keys_svc.event_handlers import apply_identity_events
from keys_svc.store import Store
from keys_svc.testing import ROLES, Team


async def made_by(team: Team, name: str, service_id: str) -> Any:
    return await team.members[name](
        "CreateKey",
        name=f"by {name}",
        service_ids=[service_id],
        ttl_days=30,
        project_id=str(team.project_id),
    )


async def outcome(call: Awaitable[Any]) -> str:
    """The code of the refusal, "" for none."""
    try:
        await call
    except AppError as error:
        return error.code
    return ""


def expected(role: str, right: ProjectRight) -> str:
    return "" if may(ROLES[role], right) else "project_right_required"


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_allows_what_the_table_says(
    role: str, team: Team, team_service: Any, outsider: Any
) -> None:
    service_id = await team_service()
    caller = team.members[role]
    assert await outcome(made_by(team, role, service_id)) == expected(role, ProjectRight.CREATE_KEYS)
    theirs = (await made_by(team, "owner" if role != "owner" else "member", service_id)).key
    changes: dict[str, dict[str, Any]] = {
        "UpdateKey": {"name": "new"},
        "SetAllowedNetworks": {"allowed_networks": ["192.0.2.0/24"]},
        "SetAllowedCalls": {"service_id": service_id, "allowed_calls": [CallRule(path="/x")]},
        "SetKeyServices": {"service_ids": [service_id]},
        "RotateKey": {},
        "DisableKey": {},
        "RevokeKey": {},
    }
    assert (await caller("GetKey", key_id=theirs.key_id)).is_changeable == may(
        ROLES[role], ProjectRight.CHANGE_ANY_KEYS
    )
    cap = {"amount": Money(currency_code="EUR", units=5)}
    assert await outcome(caller("SetKeySpendCap", key_id=theirs.key_id, **cap)) == expected(
        role, ProjectRight.SET_SPEND_CAP
    )
    for method, fields in changes.items():
        assert await outcome(outsider(method, key_id=theirs.key_id, **fields)) == "key_not_found"
        found = await outcome(caller(method, key_id=theirs.key_id, **fields))
        assert found == expected(role, ProjectRight.CHANGE_ANY_KEYS), method


async def test_a_member_changes_the_keys_that_it_has_made_but_not_their_cap(
    team: Team, team_service: Any
) -> None:
    key = (await made_by(team, "member", await team_service())).key
    member = team.members["member"]
    assert (await member("UpdateKey", key_id=key.key_id, name="mine")).is_changeable
    cap = Money(currency_code="EUR", units=5)
    with pytest.raises(PermissionDeniedError):
        await member("SetKeySpendCap", key_id=key.key_id, amount=cap)


async def test_the_owner_pays_and_the_gateway_knows_the_project(
    team: Team, team_service: Any, written: Any
) -> None:
    created = await made_by(team, "member", await team_service())
    assert created.key.consumer_id == str(team.owner.user_id)
    assert created.key.created_by == str(team.members["member"].user_id)
    key_hash = apikeys.hash_key(created.secret)
    assert key_hash is not None
    [snapshot] = await written.snapshots(key_snapshot_key(key_hash))
    assert (snapshot.consumer_id, snapshot.project_id) == (str(team.owner.user_id), str(team.project_id))


async def test_members_see_the_projects_keys_and_not_the_owners_own(
    team: Team, team_service: Any, new_key: Any, outsider: Any
) -> None:
    private = (await new_key(team.owner)).key
    shared = (await made_by(team, "member", await team_service())).key
    for name, caller in team.members.items():
        listed = {key.key_id for key in (await caller("ListKeys")).keys}
        assert listed == ({shared.key_id, private.key_id} if name == "owner" else {shared.key_id})
        in_project = await caller("ListKeys", project_id=str(team.project_id))
        assert [key.key_id for key in in_project.keys] == [shared.key_id]
    assert not (await outsider("ListKeys", project_id=str(team.project_id))).keys
    with pytest.raises(NotFoundError):
        await team.members["manager"]("GetKey", key_id=private.key_id)


async def test_access_is_the_projects_or_ones_own_and_opens_only_that_ones_keys(
    team: Team, team_service: Any, grant: Any
) -> None:
    shared, private = await team_service(), await grant(team.owner)
    with pytest.raises(FailedPreconditionError) as refused:
        await made_by(team, "owner", private)
    assert refused.value.code == "service_not_granted"
    with pytest.raises(FailedPreconditionError):
        await team.owner("CreateKey", name="own", service_ids=[shared], ttl_days=1)


async def test_keys_of_who_has_left_are_revoked_and_no_others(
    team: Team, team_service: Any, gateway: Any
) -> None:
    service_id = await team_service()
    created = {name: await made_by(team, name, service_id) for name in ("owner", "manager", "member")}
    await team.tell(without="member")
    for name, each in created.items():
        snapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(each.secret))
        assert snapshot.status == (KEY_REVOKED if name == "member" else KEY_ACTIVE)
    left = team.members["member"]
    assert await outcome(left("GetKey", key_id=created["owner"].key.key_id)) == "key_not_found"
    assert await outcome(made_by(team, "member", service_id)) == "project_not_found"
    assert not (await left("ListConsumerGrants")).grants


async def test_an_older_state_that_comes_late_changes_nothing(
    team: Team, team_service: Any, database: Database[Store]
) -> None:
    created = await made_by(team, "member", await team_service())
    late = IdentityEvent(
        project_changed=ProjectChanged(
            project_id=str(team.project_id), owner_id=str(team.owner.user_id), version=1
        )
    )
    async with database.change_by_system("consume", audited=False) as change:
        await apply_identity_events(change, [late])
    key = await team.owner("GetKey", key_id=created.key.key_id)
    assert key.status == KEY_ACTIVE


async def test_a_project_that_was_handed_over_is_paid_for_by_its_new_owner(
    team: Team, team_service: Any, gateway: Any
) -> None:
    created = await made_by(team, "member", await team_service())
    await team.tell(owner="manager")
    snapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(created.secret))
    assert (snapshot.consumer_id, snapshot.status) == (str(team.members["manager"].user_id), KEY_ACTIVE)
    assert list(snapshot.service_ids) == list(created.key.service_ids)
    [grant] = (await team.members["viewer"]("ListConsumerGrants")).grants
    assert grant.consumer_id == snapshot.consumer_id


async def test_a_closed_project_has_no_keys_grants_or_requests(
    team: Team, team_service: Any, gateway: Any, request_access: Any, written: Any
) -> None:
    service_id = await team_service()
    created = await made_by(team, "owner", service_id)
    await request_access(team.owner, project_id=team.project_id, owner_id=team.owner.user_id)
    await team.tell(is_closed=True)
    snapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(created.secret))
    assert snapshot.status == KEY_REVOKED
    [grant] = (await team.owner("ListConsumerGrants")).grants
    assert grant.HasField("ended_at")
    assert {each.status for each in (await team.owner("ListConsumerAccessRequests")).access_requests} == {
        2,
        4,
    }
    assert await outcome(made_by(team, "owner", service_id)) == "project_closed"


async def test_a_member_uses_only_the_services_that_it_may(
    team: Team, team_service: Any, registry: Any
) -> None:
    first, second = await team_service(), await team_service()
    await team.tell(bounded={"member": [first]})
    assert await outcome(made_by(team, "member", second)) == "service_not_for_member"
    mine = (await made_by(team, "member", first)).key
    granted = await registry("ListGrantedServices", consumer_id=str(team.members["member"].user_id))
    assert list(granted.service_ids) == [first]
    viewers = await registry("ListGrantedServices", consumer_id=str(team.members["viewer"].user_id))
    assert not viewers.service_ids
    # What it may use is taken from it: so is what its key may call.
    await team.tell(bounded={"member": [second]})
    key = await team.owner("GetKey", key_id=mine.key_id)
    assert list(key.service_ids) == []
    assert [(each.service_id, each.reason) for each in key.lost_services] == [(first, NOT_FOR_MEMBER)]


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_ask_for_a_project_withdraw_and_end_its_access(
    role: str, team: Team, team_service: Any, request_access: Any, outsider: Any
) -> None:
    await team_service()
    caller = team.members[role]
    pending = await request_access(team.owner, project_id=team.project_id, owner_id=team.owner.user_id)
    assert await outcome(outsider("WithdrawAccessRequest", access_request_id=pending)) == (
        "access_request_not_found"
    )
    may_end = ROLES[role] == PROJECT_OWNER or may(ROLES[role], ProjectRight.END_ACCESS)
    code = "" if may_end else "project_right_required"
    assert await outcome(caller("WithdrawAccessRequest", access_request_id=pending)) == code
    [grant] = (await caller("ListConsumerGrants", project_id=str(team.project_id))).grants
    assert await outcome(outsider("EndConsumerGrant", grant_id=grant.grant_id)) == "grant_not_found"
    assert await outcome(caller("EndConsumerGrant", grant_id=grant.grant_id)) == expected(
        role, ProjectRight.END_ACCESS
    )


def test_every_role_is_tried() -> None:
    assert set(ROLES.values()) == set(ProjectRole.values()) - {0}


async def test_ids_of_other_projects_open_nothing(team: Team, grant: Any, outsider: Any) -> None:
    service_id = await grant(outsider)
    for project_id in (team.project_id, uuid7()):
        code = await outcome(
            outsider(
                "CreateKey",
                name="x",
                service_ids=[service_id],
                ttl_days=1,
                project_id=str(UUID(int=project_id.int)),
            )
        )
        assert code == "project_not_found"
