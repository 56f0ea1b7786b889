"""What merchants do about those who use their services, by pseudonym, and only about their own."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from ams.catalog.v1.events_pb2 import ACTIVE, CatalogEvent, ServiceChanged, ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.keys.v1.events_pb2 import KEY_REVOKED, KeySnapshot
from ams.keys.v1.keys_service_pb2 import (
    APPROVED,
    BLOCKED_BY_MERCHANT,
    BY_MERCHANT,
    DENIED,
    PENDING,
    REVOKED_BY_MERCHANT,
    RequestAccessRequest,
)
from ams.keys.v1.service_consumers_service_pb2 import ConsumerLimits
from ams.policy.v1.policy_pb2 import Rule
from ams_common import apikeys
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import Caller, RequestContext, request_context
from ams_common.database import Database
from ams_common.errors import AppError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from keys_svc.event_handlers import apply_catalog_events
from keys_svc.store import Store


class Sold:
    """A service of the merchant's, a consumer with access to it and the consumer's key for it."""

    def __init__(self, merchant: Any, consumer: Any, created: Any, pseudonyms: Pseudonyms) -> None:
        self.service_id = created.key.service_ids[0]
        self.consumer_name = pseudonyms.of_consumer(merchant.user_id, consumer.user_id)
        self.key_name = pseudonyms.of_key(merchant.user_id, UUID(created.key.key_id))
        self.secret, self.key_id = created.secret, created.key.key_id
        self.wanted = {"service_id": self.service_id, "consumer": self.consumer_name}


@pytest.fixture
async def sold(merchant: Any, consumer: Any, grant: Any, new_key: Any, pseudonyms: Pseudonyms) -> Sold:
    service_id = await grant(consumer, merchant_id=merchant.user_id)
    created = await new_key(consumer, service_ids=[service_id])
    return Sold(merchant, consumer, created, pseudonyms)


Snapshot = Callable[[Sold], Awaitable[KeySnapshot]]


@pytest.fixture
def snapshot(gateway: Any) -> Snapshot:
    async def ask(sold: Sold) -> KeySnapshot:
        found: KeySnapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(sold.secret))
        return found

    return ask


async def test_a_blocked_consumers_keys_call_the_service_no_more_until_it_is_unblocked(
    merchant: Any, consumer: Any, sold: Sold, snapshot: Snapshot, written: Any, new_key: Any
) -> None:
    blocked = await merchant("BlockServiceConsumer", **sold.wanted, reason="scrapes")
    assert (blocked.HasField("blocked_at"), blocked.block_reason) == (True, "scrapes")
    assert not (await snapshot(sold)).service_ids
    key = await consumer("GetKey", key_id=sold.key_id)
    assert [each.reason for each in key.lost_services] == [BLOCKED_BY_MERCHANT]
    with pytest.raises(FailedPreconditionError) as another:
        await new_key(consumer, service_ids=[sold.service_id])
    assert another.value.code == "service_not_granted"
    with pytest.raises(FailedPreconditionError) as twice:
        await merchant("BlockServiceConsumer", **sold.wanted)
    assert twice.value.code == "consumer_blocked"
    unblocked = await merchant("UnblockServiceConsumer", **sold.wanted)
    assert not unblocked.HasField("blocked_at")
    assert list((await snapshot(sold)).service_ids) == [sold.service_id]
    with pytest.raises(FailedPreconditionError):
        await merchant("UnblockServiceConsumer", **sold.wanted)
    [record] = await written.audits("service_consumer.block")
    assert (record.resource_id, record.details["consumer_id"]) == (sold.service_id, str(consumer.user_id))


async def test_other_services_of_the_consumer_stay_open(
    merchant: Any, consumer: Any, grant: Any, new_key: Any, pseudonyms: Pseudonyms, snapshot: Snapshot
) -> None:
    mine, theirs = sorted([await grant(consumer, merchant_id=merchant.user_id), await grant(consumer)])
    created = await new_key(consumer, service_ids=[mine, theirs])
    sold = Sold(merchant, consumer, created, pseudonyms)
    services = (await merchant("GetServiceConsumer", consumer=sold.consumer_name)).services
    [service_id] = [each.service_id for each in services]
    await merchant("BlockServiceConsumer", service_id=service_id, consumer=sold.consumer_name)
    assert list((await snapshot(sold)).service_ids) == [each for each in (mine, theirs) if each != service_id]


async def test_limits_reach_the_gateway_and_can_be_taken_back(
    merchant: Any, sold: Sold, snapshot: Snapshot
) -> None:
    limits = ConsumerLimits(per_minute=5, per_day=100, per_month=1000)
    limited = await merchant("SetServiceConsumerLimits", **sold.wanted, limits=limits)
    assert limited.limits == limits
    [terms] = (await snapshot(sold)).service_terms
    assert (terms.service_id, terms.per_minute, terms.per_day, terms.per_month) == (
        sold.service_id,
        5,
        100,
        1000,
    )
    free = await merchant("SetServiceConsumerLimits", **sold.wanted)
    assert not free.HasField("limits")
    assert not (await snapshot(sold)).service_terms
    with pytest.raises(InvalidArgumentError):
        await merchant("SetServiceConsumerLimits", **sold.wanted, limits=ConsumerLimits(per_minute=-1))


async def test_one_key_is_revoked_for_the_service_and_for_good(
    merchant: Any, consumer: Any, sold: Sold, snapshot: Snapshot, new_key: Any
) -> None:
    other = await new_key(consumer, service_ids=[sold.service_id])
    revoked = await merchant("RevokeServiceKey", **sold.wanted, key=sold.key_name)
    assert (revoked.key, revoked.status) == (sold.key_name, KEY_REVOKED)
    assert not (await snapshot(sold)).service_ids
    assert list((await consumer("GetKey", key_id=other.key.key_id)).service_ids) == [sold.service_id]
    key = await consumer("GetKey", key_id=sold.key_id)
    assert [each.reason for each in key.lost_services] == [REVOKED_BY_MERCHANT]
    with pytest.raises(FailedPreconditionError) as again:
        await consumer("SetKeyServices", key_id=sold.key_id, service_ids=[sold.service_id])
    assert again.value.code == "service_revoked_by_merchant"
    with pytest.raises(FailedPreconditionError) as twice:
        await merchant("RevokeServiceKey", **sold.wanted, key=sold.key_name)
    assert twice.value.code == "service_key_revoked"


async def test_access_that_the_merchant_ended_can_be_asked_for_again(
    merchant: Any, consumer: Any, grant: Any, sold: Sold, snapshot: Snapshot
) -> None:
    ended = await merchant("EndServiceConsumerAccess", **sold.wanted, reason="no longer offered")
    assert (ended.has_access, ended.ended_by, ended.end_reason) == (False, BY_MERCHANT, "no longer offered")
    assert not (await snapshot(sold)).service_ids
    with pytest.raises(FailedPreconditionError):
        await merchant("EndServiceConsumerAccess", **sold.wanted)
    await grant(consumer, UUID(sold.service_id), merchant_id=merchant.user_id)
    [listed] = (await merchant("ListServiceConsumers", service_id=sold.service_id)).consumers
    assert (listed.consumer, listed.has_access) == (sold.consumer_name, True)


async def test_another_merchants_consumers_answer_as_none(
    merchant: Any, other_merchant: Any, consumer: Any, sold: Sold, pseudonyms: Pseudonyms
) -> None:
    by_its_own_name = pseudonyms.of_consumer(other_merchant.user_id, consumer.user_id)
    for method in (
        "BlockServiceConsumer",
        "UnblockServiceConsumer",
        "SetServiceConsumerLimits",
        "EndServiceConsumerAccess",
    ):
        for caller, name in (
            (other_merchant, sold.consumer_name),
            (other_merchant, by_its_own_name),
            (merchant, "cst_aaaaaaaaaaaaaaaa"),
            (merchant, str(consumer.user_id)),
        ):
            with pytest.raises(NotFoundError) as refused:
                await caller(method, service_id=sold.service_id, consumer=name)
            assert refused.value.code == "consumer_not_found"
    with pytest.raises(NotFoundError):
        await merchant("RevokeServiceKey", **sold.wanted, key=sold.key_id)
    assert not (await other_merchant("ListServiceConsumers", service_id=sold.service_id)).consumers


async def test_nothing_that_merchants_get_says_who_a_consumer_is(
    merchant: Any, consumer: Any, sold: Sold, request_access: Any
) -> None:
    await request_access(consumer, merchant_id=merchant.user_id)
    answers = [
        await merchant("GetServiceConsumer", consumer=sold.consumer_name),
        await merchant("ListServiceConsumers", service_id=sold.service_id, page_size=1),
        await merchant("ListMerchantAccessRequests", page_size=1),
        await merchant("RevokeServiceKey", **sold.wanted, key=sold.key_name),
    ]
    for secret in (str(consumer.user_id), sold.key_id, sold.secret[:17], "please"):
        assert secret not in str(answers)


@pytest.fixture
def policy(database: Database[Store], admin: Any) -> Callable[..., Awaitable[None]]:
    """`await policy(service_id, merchant, True)`: the catalog has told of the service, and an admin lets its
    merchant decide."""

    async def set_policy(service_id: str, merchant: Any, merchant_approves: bool) -> None:
        changed = ServiceChanged(
            service_id=service_id, merchant_id=str(merchant.user_id), name="Weather", slug="weather"
        )
        event = CatalogEvent(
            event_id=str(uuid7()), occurred_at=to_timestamp(utc_now()), service_changed=changed
        )
        async with database.change_by_system("consume", audited=False) as change:
            await apply_catalog_events(change, [event])
        await admin("SetAccessPolicy", service_id=service_id, merchant_approves=merchant_approves)

    return set_policy


@pytest.mark.parametrize(
    ("method", "status"), [("ApproveMerchantAccess", APPROVED), ("DenyMerchantAccess", DENIED)]
)
async def test_a_merchant_decides_where_an_admin_lets_it(
    method: str, status: int, merchant: Any, other_merchant: Any, consumer: Any, request_access: Any,
    policy: Any,
) -> None:  # fmt: skip
    service_id = uuid7()
    request_id = await request_access(consumer, service_id, merchant_id=merchant.user_id)
    with pytest.raises(FailedPreconditionError) as unasked:
        await merchant(method, access_request_id=request_id)
    assert unasked.value.code == "merchant_does_not_approve"
    await policy(str(service_id), merchant, True)
    assert (await merchant("GetAccessPolicy", service_id=str(service_id))).merchant_approves
    with pytest.raises(NotFoundError):
        await other_merchant("GetAccessPolicy", service_id=str(service_id))
    with pytest.raises(NotFoundError):
        await other_merchant(method, access_request_id=request_id)
    [listed] = (await merchant("ListMerchantAccessRequests", status=PENDING)).access_requests
    assert (listed.is_mine_to_decide, listed.note) == (True, "please")
    decided = await merchant(method, access_request_id=request_id, reason="because")
    assert (decided.status, decided.resolved_by) == (status, BY_MERCHANT)
    [seen] = (await consumer("ListConsumerAccessRequests")).access_requests
    assert (seen.status, seen.reason) == (status, "because")
    assert len((await consumer("ListConsumerGrants")).grants) == (status == APPROVED)


async def test_a_blocked_consumer_can_not_ask_again(
    merchant: Any, consumer: Any, sold: Sold, servicer: Any
) -> None:
    await merchant("BlockServiceConsumer", **sold.wanted)
    service = ServiceSnapshot(
        service_id=sold.service_id,
        merchant_id=str(merchant.user_id),
        status=ACTIVE,
        merchant_standing=STANDING_ACTIVE,
    )
    request_context.set(RequestContext("r", Caller(user_id=consumer.user_id), Rule(audit="access.request")))
    with pytest.raises(AppError) as refused:
        await servicer.request_access(RequestAccessRequest(service_id=sold.service_id), service)
    assert refused.value.code == "blocked_by_merchant"
