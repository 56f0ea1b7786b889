from typing import Any

import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.errors import InvalidArgumentError


def ids(answer: Any) -> list[str]:
    return [request.access_request_id for request in answer.access_requests]


async def test_admins_see_all_oldest_first_a_page_at_a_time(
    admin: Any, consumer: Any, outsider: Any, ask: Any
) -> None:
    asked = [await ask(person) for person in (consumer, outsider, consumer, outsider, consumer)]
    seen, token = [], ""
    for size in (2, 2, 1):
        page = await admin("ListAccessRequests", page_size=2, page_token=token)
        assert len(ids(page)) == size
        seen, token = seen + ids(page), page.next_page_token
    assert seen == asked
    assert token == ""


async def test_admins_filter_by_status_and_consumer(
    admin: Any, consumer: Any, outsider: Any, ask: Any
) -> None:
    approved, pending, denied, other = [
        await ask(person) for person in (consumer, consumer, consumer, outsider)
    ]
    await admin("ApproveAccess", access_request_id=approved)
    await admin("DenyAccess", access_request_id=denied)
    assert ids(await admin("ListAccessRequests", status=pb.PENDING)) == [pending, other]
    assert ids(await admin("ListAccessRequests", status=pb.APPROVED)) == [approved]
    assert ids(await admin("ListAccessRequests", status=pb.DENIED)) == [denied]
    one = await admin("ListAccessRequests", status=pb.PENDING, consumer_id=str(outsider.user_id))
    assert ids(one) == [other]


async def test_consumers_see_their_own_newest_first(
    admin: Any, consumer: Any, outsider: Any, ask: Any
) -> None:
    first, second, third = [await ask(consumer) for _ in range(3)]
    await ask(outsider)
    await admin("DenyAccess", access_request_id=second)
    page = await consumer("ListConsumerAccessRequests", page_size=2)
    assert ids(page) == [third, second]
    rest = await consumer("ListConsumerAccessRequests", page_size=2, page_token=page.next_page_token)
    assert (ids(rest), rest.next_page_token) == ([first], "")
    assert ids(await consumer("ListConsumerAccessRequests", status=pb.DENIED)) == [second]


@pytest.mark.parametrize(
    "fields",
    [
        {"page_size": -1},
        {"page_size": 201},
        {"page_token": "x" * 1_000_000},
        {"page_token": "bm90IGpzb24"},
        {"page_token": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgN10"},
        {"status": 99},
    ],
)
@pytest.mark.parametrize("method", ["ListAccessRequests", "ListConsumerAccessRequests"])
async def test_hostile_fields_are_refused(
    method: str, fields: dict[str, Any], admin: Any, consumer: Any
) -> None:
    with pytest.raises(InvalidArgumentError):
        await (admin if method == "ListAccessRequests" else consumer)(method, **fields)


async def test_a_malformed_consumer_filter_is_refused(admin: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        await admin("ListAccessRequests", consumer_id="everybody")
