"""Consumers: listed, blocked and unblocked (FR4-ADMIN-02)."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ams.identity.v1.events_pb2 import STANDING_BLOCKED
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import ADMIN

from ams_bff.http.downloads import list_download
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.views.admin_access import load_keys_and_grants
from ams_bff.views.admin_queue import services_by_id
from ams_bff.views.standing import AccountKind, views_of

_SHOWN_REQUESTS = 20
_ACCESS_FIELDS = ("status", "requested_at", "resolved_at", "note", "reason", "access_request_id")


async def _load_access(visit: Visit) -> Mapping[str, Any]:
    listed, more = await asyncio.gather(
        _ask_access(visit, _SHOWN_REQUESTS, ""),
        load_keys_and_grants(visit, visit.parameter("account_id")),
    )
    return {
        **more,
        "requests_for_access": listed.access_requests,
        "has_more": bool(listed.next_page_token),
        "services": await services_by_id(visit, (asked.service_id for asked in listed.access_requests)),
    }


async def _ask_access(visit: Visit, size: int, page_token: str) -> keys_pb.ListAccessRequestsResponse:
    consumer_id = visit.parameter("account_id")
    return await visit.api.keys.ListAccessRequests(
        page_size=size, page_token=page_token, consumer_id=consumer_id
    )


async def _access_rows(visit: Visit, listed: keys_pb.ListAccessRequestsResponse) -> list[Cells]:
    services = await services_by_id(visit, (asked.service_id for asked in listed.access_requests))
    asked_of = [(asked, services[asked.service_id]) for asked in listed.access_requests]
    return [[each.name, each.merchant_name, *cells(asked, *_ACCESS_FIELDS)] for asked, each in asked_of]


CONSUMERS = AccountKind(
    noun="consumer",
    named_by="email",
    sorts=("name", "email", "standing", "registered_at"),
    columns=("email", "name", "standing", "registered_at", "consumer_id"),
    get=lambda visit, consumer_id: visit.api.identity.GetConsumer(consumer_id=consumer_id),
    ask=lambda visit, **fields: visit.api.identity.ListConsumers(**fields),
    stopped=STANDING_BLOCKED,
    stop_verb="block",
    stop=lambda visit, consumer_id, reason: visit.api.identity.BlockConsumer(
        consumer_id=consumer_id, reason=reason
    ),
    stopped_text="is blocked.",
    restore_verb="unblock",
    restore=lambda visit, consumer_id, reason: visit.api.identity.UnblockConsumer(
        consumer_id=consumer_id, reason=reason
    ),
    restored_text="is unblocked.",
    load_account=_load_access,
)

_OWN = f"{CONSUMERS.path}/{{account_id}}"
VIEWS = (
    *views_of(CONSUMERS),
    list_download(
        _OWN,
        "access-requests",
        ("service", "merchant", *_ACCESS_FIELDS),
        _ask_access,
        _access_rows,
        ADMIN,
    ),
)
