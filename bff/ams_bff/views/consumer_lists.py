"""What several pages need whole: a consumer's keys and access requests."""

from collections.abc import AsyncIterator, Iterable, Sequence

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_ACTIVE

from ams_bff.http.api import pages
from ams_bff.http.visits import Visit

_PAGE_SIZE = 200
# 1,000 of each: a consumer with more sees the newest.
_MOST_PAGES = 5


async def all_keys(visit: Visit) -> list[pb.Key]:
    """Returns them all, the newest first, by as many calls as there are pages."""

    async def ask(token: str) -> pb.ListKeysResponse:
        return await visit.api.keys.ListKeys(page_size=_PAGE_SIZE, page_token=token)

    return [key async for listed in pages(ask, _MOST_PAGES) for key in listed.keys]


async def request_pages(visit: Visit) -> AsyncIterator[Sequence[pb.AccessRequest]]:
    async def ask(token: str) -> pb.ListConsumerAccessRequestsResponse:
        return await visit.api.keys.ListConsumerAccessRequests(page_size=_PAGE_SIZE, page_token=token)

    async for listed in pages(ask, _MOST_PAGES):
        yield listed.access_requests


async def all_requests(visit: Visit) -> list[pb.AccessRequest]:
    """Returns them all, the newest first, by as many calls as there are pages."""
    return [request async for requests in request_pages(visit) for request in requests]


def newest_by_service(requests: Iterable[pb.AccessRequest]) -> list[pb.AccessRequest]:
    """One for each service: the newest, which is the one that counts."""
    newest: dict[str, pb.AccessRequest] = {}
    for request in requests:
        newest.setdefault(request.service_id, request)
    return list(newest.values())


def approved_services(requests: Iterable[pb.AccessRequest], project_id: str = "") -> list[str]:
    """Ids of the services that keys may be made for: one's own, or a project's."""
    of_one = (each for each in requests if each.project_id == project_id)
    return [each.service_id for each in newest_by_service(of_one) if has_access(each)]


def has_access(request: pb.AccessRequest) -> bool:
    """Whether what was asked for is in force."""
    return request.status == pb.APPROVED and not request.HasField("ended_at")


def active_keys(keys: Iterable[pb.Key]) -> Sequence[pb.Key]:
    return [key for key in keys if key.status == KEY_ACTIVE]
