import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_SUSPENDED
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from identity_svc import roles
from identity_svc.accounts import change_standing


@dataclass(frozen=True)
class RoleRpcs:
    """The RPCs that stop merchants or consumers and let them go on, and their answers."""

    role: str
    stop: str
    resume: str
    stopped: Any
    already_code: str
    not_code: str

    def request(self, rpc_name: str, user_id: str, reason: str = "") -> Any:
        return getattr(pb, f"{rpc_name}Request")(**{f"{self.role}_id": user_id, "reason": reason})

    async def call(self, identity: Any, rpc_name: str, user_id: str, reason: str = "") -> Any:
        method: Callable[..., Awaitable[Any]] = getattr(identity.stub, rpc_name)
        return await method(self.request(rpc_name, user_id, reason), metadata=identity.admin)

    async def register(self, identity: Any, email: str) -> str:
        register = identity.register_merchant if self.role == "merchant" else identity.register_consumer
        return str((await register(email)).user.user_id)

    async def list(self, identity: Any, **filters: Any) -> list[Any]:
        name = f"List{self.role.title()}s"
        request = getattr(pb, f"{name}Request")(**filters)
        answer = await getattr(identity.stub, name)(request, metadata=identity.admin)
        return list(getattr(answer, f"{self.role}s"))

    async def get(self, identity: Any, user_id: str) -> Any:
        name = f"Get{self.role.title()}"
        request = getattr(pb, f"{name}Request")(**{f"{self.role}_id": user_id})
        return await getattr(identity.stub, name)(request, metadata=identity.admin)


MERCHANTS = RoleRpcs(
    "merchant",
    "SuspendMerchant",
    "ReinstateMerchant",
    STANDING_SUSPENDED,
    "merchant_already_suspended",
    "merchant_not_suspended",
)
CONSUMERS = RoleRpcs(
    "consumer",
    "BlockConsumer",
    "UnblockConsumer",
    STANDING_BLOCKED,
    "consumer_already_blocked",
    "consumer_not_blocked",
)
both = pytest.mark.parametrize("rpcs", [MERCHANTS, CONSUMERS], ids=lambda rpcs: rpcs.role)


@both
async def test_an_admin_stops_somebody_and_lets_them_go_on(identity: Any, rpcs: RoleRpcs) -> None:
    user_id = await rpcs.register(identity, "u@example.com")
    stopped = await rpcs.call(identity, rpcs.stop, user_id, "spam")
    assert stopped.standing == rpcs.stopped
    # Nobody here tells the gateways of it (test_say_when_stopped.py).
    stopped.is_held_up = False
    assert await rpcs.get(identity, user_id) == stopped
    resumed = await rpcs.call(identity, rpcs.resume, user_id, "sorry")
    assert resumed.standing == STANDING_ACTIVE
    events = [getattr(event, f"{rpcs.role}_changed") for event in await identity.events()]
    assert [event.standing for event in events] == [STANDING_ACTIVE, rpcs.stopped, STANDING_ACTIVE]
    assert {getattr(event, f"{rpcs.role}_id") for event in events} == {user_id}
    for rpc_name, reason in ((rpcs.stop, "spam"), (rpcs.resume, "sorry")):
        action = f"{rpcs.role}.{rpc_name.removesuffix(rpcs.role.title()).lower()}"
        [record] = await identity.audit_records(action)
        assert (record.resource, record.resource_id) == (rpcs.role, user_id)
        assert dict(record.details) == {"reason": reason}


@both
async def test_who_is_stopped_already_is_not_stopped_again(identity: Any, rpcs: RoleRpcs) -> None:
    user_id = await rpcs.register(identity, "u@example.com")
    error = await identity.error_of(rpcs.call(identity, rpcs.resume, user_id))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, rpcs.not_code)
    calls = [rpcs.call(identity, rpcs.stop, user_id) for _ in range(3)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers].count(False) == 1
    error = await identity.error_of(rpcs.call(identity, rpcs.stop, user_id))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, rpcs.already_code)
    assert len(await identity.events()) == 2  # the registration and one change


@both
async def test_a_decision_waits_for_another_that_is_being_made(identity: Any, rpcs: RoleRpcs) -> None:
    """Without the row's lock the second would act on the standing that the first is changing."""
    user_id = await rpcs.register(identity, "u@example.com")
    transition = {"merchant": roles.SUSPEND, "consumer": roles.BLOCK}[rpcs.role]
    async with identity.servicer.database.change_by_system("test", audited=False) as change:
        await change_standing(change, transition, UUID(user_id), "")
        second = asyncio.ensure_future(identity.error_of(rpcs.call(identity, rpcs.stop, user_id)))

        async def is_waiting() -> bool:
            query = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
            return bool(await identity.fetch(query))

        await eventually(is_waiting)
    assert (await second).code == rpcs.already_code


@both
async def test_only_who_holds_the_role_is_found(identity: Any, rpcs: RoleRpcs) -> None:
    other = MERCHANTS if rpcs is CONSUMERS else CONSUMERS
    somebody_else = await other.register(identity, "u@example.com")
    before = await identity.events()
    for user_id in (somebody_else, str(uuid7())):
        for rpc_name in (rpcs.stop, rpcs.resume):
            error = await identity.error_of(rpcs.call(identity, rpc_name, user_id))
            assert (error.grpc_code, error.code) == (grpc.StatusCode.NOT_FOUND, f"{rpcs.role}_not_found")
        assert (await identity.error_of(rpcs.get(identity, user_id))).code == f"{rpcs.role}_not_found"
    assert await identity.events() == before


@both
async def test_malformed_ids_are_refused(identity: Any, rpcs: RoleRpcs) -> None:
    for call in (
        rpcs.call(identity, rpcs.stop, "not-a-uuid"),
        rpcs.call(identity, rpcs.resume, "1; DROP TABLE users"),
        rpcs.get(identity, ""),
    ):
        assert (await identity.error_of(call)).grpc_code is grpc.StatusCode.INVALID_ARGUMENT


@both
async def test_the_list_is_newest_first_and_filtered_by_standing(identity: Any, rpcs: RoleRpcs) -> None:
    ids = [await rpcs.register(identity, f"u{number}@example.com") for number in range(3)]
    await rpcs.call(identity, rpcs.stop, ids[1])
    id_field = f"{rpcs.role}_id"
    assert [getattr(row, id_field) for row in await rpcs.list(identity)] == ids[::-1]
    assert [getattr(row, id_field) for row in await rpcs.list(identity, standing=rpcs.stopped)] == [ids[1]]
    active = await rpcs.list(identity, standing=STANDING_ACTIVE)
    assert [getattr(row, id_field) for row in active] == [ids[2], ids[0]]
    wrong = await identity.error_of(rpcs.list(identity, standing=99))
    assert wrong.grpc_code is grpc.StatusCode.INVALID_ARGUMENT


async def test_merchants_are_listed_page_by_page(identity: Any) -> None:
    ids = [await MERCHANTS.register(identity, f"m{number}@example.com") for number in range(3)]
    first = await identity.stub.ListMerchants(pb.ListMerchantsRequest(page_size=2), metadata=identity.admin)
    request = pb.ListMerchantsRequest(page_size=2, page_token=first.next_page_token)
    second = await identity.stub.ListMerchants(request, metadata=identity.admin)
    assert [m.merchant_id for m in [*first.merchants, *second.merchants]] == ids[::-1]
    assert second.next_page_token == ""


@both
async def test_who_is_stopped_can_see_so_and_since_when(identity: Any, rpcs: RoleRpcs) -> None:
    register = identity.register_merchant if rpcs.role == "merchant" else identity.register_consumer
    session = await register("u@example.com")
    assert getattr(session.user, f"{rpcs.role}_standing") == STANDING_ACTIVE
    assert not session.user.HasField(f"{rpcs.role}_standing_since")
    await rpcs.call(identity, rpcs.stop, session.user.user_id)
    renewed = await identity.stub.RefreshSession(
        pb.RefreshSessionRequest(refresh_token=session.refresh_token)
    )
    assert (list(renewed.user.roles), getattr(renewed.user, f"{rpcs.role}_standing")) == ([], rpcs.stopped)
    since = getattr(renewed.user, f"{rpcs.role}_standing_since")
    assert since.ToDatetime().year >= session.user.created_at.ToDatetime().year > 1970
