import base64
import json
from typing import Any

import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7


def ids(answer: Any) -> list[str]:
    return [request.access_request_id for request in answer.access_requests]


async def test_admins_see_all_oldest_first_a_page_at_a_time(
    admin: Any, consumer: Any, outsider: Any, request_access: Any
) -> None:
    asked = [await request_access(caller) for caller in (consumer, outsider, consumer, outsider, consumer)]
    seen: list[str] = []
    token = ""
    for size in (2, 2, 1):
        page = await admin("ListAccessRequests", page_size=2, page_token=token)
        assert len(ids(page)) == size
        seen, token = seen + ids(page), page.next_page_token
    assert seen == asked
    assert token == ""


async def test_admins_filter_by_status_and_consumer(
    admin: Any, consumer: Any, outsider: Any, request_access: Any
) -> None:
    approved, pending, denied, other = [
        await request_access(caller) for caller in (consumer, consumer, consumer, outsider)
    ]
    await admin("ApproveAccess", access_request_id=approved)
    await admin("DenyAccess", access_request_id=denied)
    assert ids(await admin("ListAccessRequests", status=pb.PENDING)) == [pending, other]
    assert ids(await admin("ListAccessRequests", status=pb.APPROVED)) == [approved]
    assert ids(await admin("ListAccessRequests", status=pb.DENIED)) == [denied]
    one = await admin("ListAccessRequests", status=pb.PENDING, consumer_id=str(outsider.user_id))
    assert ids(one) == [other]


async def test_consumers_see_their_own_newest_first(
    admin: Any, consumer: Any, outsider: Any, request_access: Any
) -> None:
    first, second, third = [await request_access(consumer) for _ in range(3)]
    await request_access(outsider)
    await admin("DenyAccess", access_request_id=second)
    page = await consumer("ListConsumerAccessRequests", page_size=2)
    assert ids(page) == [third, second]
    rest = await consumer("ListConsumerAccessRequests", page_size=2, page_token=page.next_page_token)
    assert (ids(rest), rest.next_page_token) == ([first], "")
    assert ids(await consumer("ListConsumerAccessRequests", status=pb.DENIED)) == [second]


def page_token(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


async def test_hostile_fields_are_refused(admin: Any, consumer: Any) -> None:
    hostile: list[dict[str, Any]] = [
        {"page_size": -1},
        {"page_size": 201},
        {"page_token": "x" * 1_000_000},
        {"page_token": "bm90IGpzb24"},
        {"status": 99},
    ]
    tokens: list[tuple[object, ...]] = [
        ("2026-01-01T00:00:00+00:00", 7),
        ("2026-01-01T00:00:00", str(uuid7())),
        ("0001-01-01T00:00:00+23:59", str(uuid7())),
        ("9999-12-31T23:59:59-23:59", str(uuid7())),
    ]
    for caller, method, order_by in (
        (admin, "ListAccessRequests", "requested_at"),
        (consumer, "ListConsumerAccessRequests", "requested_at desc"),
    ):
        for fields in [*hostile, *({"page_token": page_token(order_by, *key)} for key in tokens)]:
            with pytest.raises(InvalidArgumentError):
                await caller(method, **fields)
    with pytest.raises(InvalidArgumentError):
        await admin("ListAccessRequests", consumer_id="everybody")
