"""A spend cap over all keys of a project: who sets and sees it, and which keys it reaches."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ams.keys.v1.events_pb2 import KeySnapshot, SpendCap
from ams_common import apikeys
from ams_common.errors import AppError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.project_rights import ProjectRight, may
from ams_common.snapshots import key_snapshot_key
from google.type.money_pb2 import Money
from keys_svc.testing import ROLES, Team

TEN_EUROS = Money(currency_code="EUR", units=10)
FIVE_DOLLARS = Money(currency_code="USD", units=5)


@pytest.fixture
def made_by(team: Team, team_service: Any) -> Callable[..., Awaitable[Any]]:
    """`await made_by("member")`: a key of the project that the member has made."""

    async def create(name: str, **more: Any) -> Any:
        return await team.members[name](
            "CreateKey",
            name=f"by {name}",
            service_ids=[await team_service()],
            ttl_days=30,
            project_id=str(team.project_id),
            **more,
        )

    return create


@pytest.fixture
def caps_of(written: Any) -> Callable[..., Awaitable[dict[int, Money]]]:
    """`await caps_of(created)`: what the gateways are told last of a key's caps."""

    async def last(created: Any) -> dict[int, Money]:
        key_hash = apikeys.hash_key(created.secret)
        assert key_hash is not None
        snapshots: list[KeySnapshot] = await written.snapshots(key_snapshot_key(key_hash))
        return {cap.scope: cap.amount for cap in snapshots[-1].spend_caps}

    return last


async def refusal_of(call: Awaitable[Any]) -> str:
    """Its code, "" for none."""
    try:
        await call
    except AppError as error:
        return error.code
    return ""


async def test_it_reaches_every_members_keys_those_made_later_and_no_others(
    team: Team, made_by: Any, new_key: Any, caps_of: Any, written: Any
) -> None:
    project = {"project_id": str(team.project_id)}
    before, private = await made_by("member"), await new_key(team.owner)
    capped = await team.owner("SetProjectSpendCap", **project, amount=TEN_EUROS)
    assert (capped.project_id, capped.amount) == (str(team.project_id), TEN_EUROS)
    later = await made_by("manager", spend_cap=FIVE_DOLLARS)
    assert await caps_of(before) == {SpendCap.PROJECT: TEN_EUROS}
    assert await caps_of(later) == {SpendCap.KEY: FIVE_DOLLARS, SpendCap.PROJECT: TEN_EUROS}
    # What its owner uses besides isn't the project's.
    assert await caps_of(private) == {}
    await team.owner("SetSpendCap", amount=FIVE_DOLLARS)
    assert await caps_of(before) == {SpendCap.PROJECT: TEN_EUROS, SpendCap.CONSUMER: FIVE_DOLLARS}
    assert await caps_of(private) == {SpendCap.CONSUMER: FIVE_DOLLARS}
    await team.members["manager"]("SetProjectSpendCap", **project)
    assert await caps_of(before) == {SpendCap.CONSUMER: FIVE_DOLLARS}
    audits = await written.audits("project.set_spend_cap")
    assert [(each.actor, each.resource_id, each.details["spend_cap"]) for each in audits] == [
        (str(team.owner.user_id), str(team.project_id), "10 EUR"),
        (str(team.members["manager"].user_id), str(team.project_id), "none"),
    ]


async def test_it_stays_when_the_project_is_handed_over(team: Team, made_by: Any, caps_of: Any) -> None:
    created = await made_by("member")
    await team.owner("SetProjectSpendCap", project_id=str(team.project_id), amount=TEN_EUROS)
    await team.tell(owner="manager")
    assert await caps_of(created) == {SpendCap.PROJECT: TEN_EUROS}
    seen = await team.members["manager"]("GetProjectSpendCap", project_id=str(team.project_id))
    assert seen.amount == TEN_EUROS


@pytest.mark.parametrize("role", ROLES)
async def test_every_member_sees_it_and_managers_set_it(role: str, team: Team) -> None:
    caller, project = team.members[role], {"project_id": str(team.project_id)}
    refused = await refusal_of(caller("SetProjectSpendCap", **project, amount=TEN_EUROS))
    is_set = may(ROLES[role], ProjectRight.SET_SPEND_CAP)
    assert refused == ("" if is_set else "project_right_required")
    seen = await caller("GetProjectSpendCap", **project)
    assert seen.amount == (TEN_EUROS if is_set else Money())


@pytest.mark.parametrize("method", ["GetProjectSpendCap", "SetProjectSpendCap"])
async def test_to_others_there_is_no_such_project(method: str, team: Team, outsider: Any) -> None:
    for project_id in (team.project_id, uuid7()):
        with pytest.raises(NotFoundError) as none:
            await outsider(method, project_id=str(project_id))
        assert none.value.code == "project_not_found"
    with pytest.raises(InvalidArgumentError):
        await team.owner(method, project_id="1")


async def test_who_has_left_sets_it_no_more_and_a_closed_project_gets_none(team: Team) -> None:
    project = {"project_id": str(team.project_id), "amount": TEN_EUROS}
    await team.tell(without="manager")
    assert await refusal_of(team.members["manager"]("SetProjectSpendCap", **project)) == "project_not_found"
    await team.tell(is_closed=True)
    assert await refusal_of(team.owner("SetProjectSpendCap", **project)) == "project_closed"


async def test_a_manager_who_is_blocked_sets_none(team: Team, apply_standing: Any) -> None:
    manager = team.members["manager"]
    await apply_standing(manager.user_id, 3)
    with pytest.raises(PermissionDeniedError) as refused:
        await manager("SetProjectSpendCap", project_id=str(team.project_id), amount=TEN_EUROS)
    assert refused.value.code == "consumer_blocked"
