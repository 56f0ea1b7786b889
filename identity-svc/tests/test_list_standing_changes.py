import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_SUSPENDED
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams_common.testing.eventually import eventually
from ams_common.testing.tokens import TestIssuer
from identity_svc import roles
from identity_svc.accounts import change_standing, publish_consumer


async def changes(
    identity: Any, issuer: TestIssuer, after_version: int = 0, page_size: int = 0
) -> Sequence[pb.StandingChange]:
    request = pb.ListStandingChangesRequest(after_version=after_version, page_size=page_size)
    metadata = (("authorization", f"Bearer {issuer.service_token('keys-svc')}"),)
    answer: pb.ListStandingChangesResponse = await identity.stub.ListStandingChanges(
        request, metadata=metadata
    )
    return answer.changes


async def block(identity: Any, user_id: str) -> None:
    await identity.stub.BlockConsumer(pb.BlockConsumerRequest(consumer_id=user_id), metadata=identity.admin)


async def test_everybody_is_listed_once_by_the_version_of_their_present_standing(
    identity: Any, issuer: TestIssuer
) -> None:
    consumer = (await identity.register_consumer("c@example.com")).user.user_id
    merchant = (await identity.register_merchant("m@example.com")).user.user_id
    await block(identity, consumer)
    await identity.stub.SuspendMerchant(
        pb.SuspendMerchantRequest(merchant_id=merchant), metadata=identity.admin
    )
    await identity.stub.ReinstateMerchant(
        pb.ReinstateMerchantRequest(merchant_id=merchant), metadata=identity.admin
    )
    listed = await changes(identity, issuer)
    assert [(change.user_id, change.role, change.standing) for change in listed] == [
        (consumer, CONSUMER, STANDING_BLOCKED),
        (merchant, MERCHANT, STANDING_ACTIVE),
    ]
    assert list(await changes(identity, issuer, listed[0].version)) == [listed[1]]
    assert list(await changes(identity, issuer, listed[1].version)) == []
    assert list(await changes(identity, issuer, page_size=1)) == [listed[0]]


async def test_events_carry_the_version_and_each_is_higher_than_the_one_before(
    identity: Any, issuer: TestIssuer
) -> None:
    consumer = (await identity.register_consumer("c@example.com")).user.user_id
    merchant = (await identity.register_merchant("m@example.com")).user.user_id
    await block(identity, consumer)
    await identity.stub.SuspendMerchant(
        pb.SuspendMerchantRequest(merchant_id=merchant), metadata=identity.admin
    )
    events = [
        event.merchant_changed if event.HasField("merchant_changed") else event.consumer_changed
        for event in await identity.events()
    ]
    versions = [event.standing_version for event in events]
    assert versions == sorted(set(versions))
    listed = await changes(identity, issuer)
    assert [(change.version, change.standing) for change in listed] == [
        (versions[2], STANDING_BLOCKED),
        (versions[3], STANDING_SUSPENDED),
    ]


async def test_nobody_who_reads_on_misses_a_change_that_commits_late(
    identity: Any, issuer: TestIssuer
) -> None:
    slow, quick = [
        (await identity.register_consumer(f"{name}@example.com")).user.user_id for name in ("slow", "quick")
    ]
    seen = [change.version for change in await changes(identity, issuer)][-1]
    async with identity.servicer.database.change_by_system("test", audited=False) as change:
        await change_standing(change, roles.BLOCK, UUID(slow), "")
        await publish_consumer(change, UUID(slow))
        blocking = asyncio.create_task(block(identity, quick))

        async def waits() -> bool:
            query = (
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND (wait_event_type, wait_event) = ('Lock', 'advisory')"
            )
            return bool(await identity.fetch(query))

        await eventually(waits)
        # The second, had it not waited, would be all that is seen, and be read on from.
        assert list(await changes(identity, issuer, seen)) == []
    await blocking
    assert [change.user_id for change in await changes(identity, issuer, seen)] == [slow, quick]


async def test_versions_of_changes_at_once_never_tie(identity: Any, issuer: TestIssuer) -> None:
    ids = [(await identity.register_consumer(f"c{number}@example.com")).user.user_id for number in range(4)]
    await asyncio.gather(*[block(identity, user_id) for user_id in ids])
    listed = await changes(identity, issuer)
    assert len({change.version for change in listed}) == len(ids)
    assert [change.version for change in listed] == sorted(change.version for change in listed)


async def test_versions_go_on_above_those_that_followers_saw_before_a_restore(
    identity: Any, issuer: TestIssuer
) -> None:
    """A backup holds an older state of the sequence."""
    consumer = (await identity.register_consumer("c@example.com")).user.user_id
    [before] = await changes(identity, issuer)
    await identity.fetch("SELECT setval('standing_versions', 1)")
    await block(identity, consumer)
    [after] = await changes(identity, issuer, before.version)
    assert after.version > before.version


async def test_versions_go_on_though_the_clock_was_set_back(identity: Any, issuer: TestIssuer) -> None:
    consumer = (await identity.register_consumer("c@example.com")).user.user_id
    ahead = 2**52
    await identity.fetch("SELECT setval('standing_versions', $1)", ahead)
    await block(identity, consumer)
    [change] = await changes(identity, issuer)
    assert change.version == ahead + 1


async def test_what_is_no_version_or_page_size_is_refused(identity: Any, issuer: TestIssuer) -> None:
    for after_version, page_size in ((-1, 0), (0, -1), (0, 1001)):
        error = await identity.error_of(changes(identity, issuer, after_version, page_size))
        assert error.grpc_code is grpc.StatusCode.INVALID_ARGUMENT
