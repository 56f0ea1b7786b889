"""What several pages need whole: a consumer's keys and access requests."""

from collections.abc import Iterable, Sequence

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_ACTIVE

from ams_bff.http.visits import Visit

_PAGE_SIZE = 200
# 1,000 of each: a consumer with more sees the newest.
_MOST_PAGES = 5


async def all_keys(visit: Visit) -> list[pb.Key]:
    """The newest first."""
    keys: list[pb.Key] = []
    token = ""
    for _ in range(_MOST_PAGES):
        answer = await visit.api.keys.ListKeys(page_size=_PAGE_SIZE, page_token=token)
        keys += answer.keys
        token = answer.next_page_token
        if not token:
            break
    return keys


async def all_requests(visit: Visit) -> list[pb.AccessRequest]:
    """The newest first."""
    requests: list[pb.AccessRequest] = []
    token = ""
    for _ in range(_MOST_PAGES):
        answer = await visit.api.keys.ListConsumerAccessRequests(page_size=_PAGE_SIZE, page_token=token)
        requests += answer.access_requests
        token = answer.next_page_token
        if not token:
            break
    return requests


def newest_by_service(requests: Iterable[pb.AccessRequest]) -> list[pb.AccessRequest]:
    """One for each service: the newest, which is the one that counts."""
    newest: dict[str, pb.AccessRequest] = {}
    for request in requests:
        newest.setdefault(request.service_id, request)
    return list(newest.values())


def approved_services(requests: Iterable[pb.AccessRequest]) -> list[str]:
    """Ids of the services that keys may be made for."""
    return [each.service_id for each in newest_by_service(requests) if each.status == pb.APPROVED]


def active_keys(keys: Iterable[pb.Key]) -> Sequence[pb.Key]:
    """Those that work now."""
    return [key for key in keys if key.status == KEY_ACTIVE]
