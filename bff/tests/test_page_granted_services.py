"""A consumer's services, a page at a time: requests that are read whole, cut where the reader is."""

from ams.keys.v1 import keys_service_pb2 as pb
from ams_bff.views.granted_services import page_of
from ams_common.ids import uuid7

# As the service lists them: the newest first.
IDS = sorted((str(uuid7()) for _ in range(5)), reverse=True)
REQUESTS = [pb.AccessRequest(access_request_id=each) for each in IDS]


def walk(size: int, requests: list[pb.AccessRequest] = REQUESTS) -> list[pb.AccessRequest]:
    shown: list[pb.AccessRequest] = []
    token = ""
    while True:
        listed = page_of(requests, size, token)
        assert len(listed.requests) <= size
        shown += listed.requests
        if not (token := listed.next_page_token):
            return shown


def test_every_request_stands_on_one_page_in_order() -> None:
    assert walk(1) == walk(2) == walk(5) == walk(9) == REQUESTS
    assert walk(3, []) == []


def test_a_page_goes_on_where_it_was_though_its_last_request_is_gone() -> None:
    token = page_of(REQUESTS, 2, "").next_page_token
    newer = pb.AccessRequest(access_request_id=str(uuid7()))
    assert page_of([newer, *REQUESTS[:1], *REQUESTS[2:]], 2, token).requests == REQUESTS[2:4]


def test_a_token_that_nobody_gave_out_is_no_fault() -> None:
    assert page_of(REQUESTS, 2, "\0").requests == []
    assert page_of(REQUESTS, 2, "zzz").requests == REQUESTS[:2]
