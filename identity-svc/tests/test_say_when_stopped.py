"""An admin who stops somebody is told whether the gateways know of it: by who keeps standings for them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import rule
from ams_common.clock import from_timestamp, utc_now
from ams_common.etags import EFFECTIVE_BY
from ams_common.testing.eventually import eventually
from ams_common.testing.tokens import TestIssuer

# The reader of each role's standings, what stops somebody in it, and what lets them go on.
STOPS = {
    "consumer": ("keys-svc", "BlockConsumer", "UnblockConsumer"),
    "merchant": ("catalog-svc", "SuspendMerchant", "ReinstateMerchant"),
}
both = pytest.mark.parametrize("role", STOPS)
Ask = Callable[..., Awaitable[int]]


@pytest.fixture
def ask(identity: Any, issuer: TestIssuer) -> Ask:
    """`await ask("keys-svc", version, is_delivered=True)`: the newest version that it hears of."""

    async def read(service: str, after_version: int = 0, *, is_delivered: bool = True) -> int:
        metadata = (("authorization", f"Bearer {issuer.service_token(service)}"),)
        request = pb.ListStandingChangesRequest(after_version=after_version, is_delivered=is_delivered)
        answer = await identity.stub.ListStandingChanges(request, metadata=metadata)
        return max((change.version for change in answer.changes), default=after_version)

    return read


async def register(identity: Any, role: str) -> str:
    make = identity.register_merchant if role == "merchant" else identity.register_consumer
    return str((await make("u@example.com")).user.user_id)


async def call(identity: Any, role: str, rpc: str, user_id: str) -> Any:
    request = getattr(pb, f"{rpc}Request")(**{f"{role}_id": user_id})
    return await getattr(identity.stub, rpc)(request, metadata=identity.admin)


def says_by_when(answer: Any) -> bool:
    """Within the minute in which each gateway confirms what it holds."""
    if not answer.HasField(EFFECTIVE_BY):
        return False
    remaining = from_timestamp(answer.effective_by) - utc_now()
    return timedelta(seconds=30) < remaining <= timedelta(seconds=60)


def test_these_and_no_others_say_when() -> None:
    [service] = pb.DESCRIPTOR.services_by_name.values()
    saying = {
        method.name
        for method in service.methods
        if EFFECTIVE_BY in method.output_type.fields_by_name and method.GetOptions().Extensions[rule].audit
    }
    assert saying == {rpc for _, *rpcs in STOPS.values() for rpc in rpcs}


@both
async def test_where_the_reader_has_told_the_gateways_it_holds_already(
    role: str, identity: Any, ask: Ask
) -> None:
    reader, stop, go_on = STOPS[role]
    user_id = await register(identity, role)
    version = await ask(reader)
    stopping = asyncio.create_task(call(identity, role, stop, user_id))

    async def has_heard() -> bool:
        # As the reader does every second, and at once after it has applied something.
        nonlocal version
        version, before = await ask(reader, version), version
        return version > before

    await eventually(has_heard)
    await ask(reader, version)
    stopped = await stopping
    assert not stopped.HasField(EFFECTIVE_BY)
    assert not stopped.is_held_up
    resumed = await call(identity, role, go_on, user_id)
    assert not resumed.HasField(EFFECTIVE_BY)
    assert not resumed.is_held_up


@both
async def test_where_the_reader_could_not_tell_them_the_answer_says_by_when(
    role: str, identity: Any, ask: Ask
) -> None:
    reader, stop, _ = STOPS[role]
    user_id = await register(identity, role)
    version = await ask(reader)
    stopping = asyncio.create_task(call(identity, role, stop, user_id))

    async def has_heard() -> bool:
        return await ask(reader, version) > version

    await eventually(has_heard)
    await ask(reader, await ask(reader, version), is_delivered=False)
    stopped = await stopping
    assert says_by_when(stopped)
    assert not stopped.is_held_up


@both
async def test_where_the_reader_is_slow_the_answer_waits_no_longer_and_says_by_when(
    role: str, identity: Any, ask: Ask
) -> None:
    reader, stop, _ = STOPS[role]
    user_id = await register(identity, role)
    identity.servicer.standing_readers.wait_s = 0.2
    await ask(reader)
    assert says_by_when(await call(identity, role, stop, user_id))


@both
async def test_where_the_reader_is_away_nobody_can_say(role: str, identity: Any, ask: Ask) -> None:
    reader, stop, _ = STOPS[role]
    user_id = await register(identity, role)
    # The other's asking is of no use.
    [other] = {each for each, *_ in STOPS.values()} - {reader}
    await ask(other, await ask(other))
    stopped = await call(identity, role, stop, user_id)
    assert stopped.is_held_up
    assert not stopped.HasField(EFFECTIVE_BY)
    got = await call(identity, role, f"Get{role.title()}", user_id)
    assert not got.is_held_up


@both
async def test_a_reader_that_asked_long_ago_is_away(role: str, identity: Any, ask: Ask) -> None:
    reader, stop, _ = STOPS[role]
    user_id = await register(identity, role)
    await ask(reader)
    await identity.fetch("UPDATE standing_readers SET asked_at = now() - interval '6 s'")
    assert (await call(identity, role, stop, user_id)).is_held_up


@both
async def test_a_reader_that_has_nothing_to_ask_for_is_there(
    role: str, identity: Any, ask: Ask, issuer: TestIssuer
) -> None:
    """It asks for revisions every second, and for changes only when there are some."""
    reader, stop, _ = STOPS[role]
    user_id = await register(identity, role)
    identity.servicer.standing_readers.wait_s = 0.2
    await ask(reader)
    await identity.fetch("UPDATE standing_readers SET asked_at = now() - interval '6 s'")
    metadata = (("authorization", f"Bearer {issuer.service_token(reader)}"),)
    await identity.stub.GetRevisions(pb.GetRevisionsRequest(), metadata=metadata)
    assert says_by_when(await call(identity, role, stop, user_id))
