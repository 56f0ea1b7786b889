"""When keys were last used and how often, for keys-svc alone."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from ams.usage.v1 import key_activity_service_pb2 as pb
from ams.usage.v1 import key_activity_service_pb2_grpc as rpc
from ams_common.client import invoke
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from usage_svc.rpc.key_activity import KeyActivityService, KeyActivityStore
from usage_svc.store import Store


async def test_a_keys_last_use_and_requests_over_all_its_services(
    subject: Any, ingest: Any, database: Database[Store], issuer: TestIssuer, serve_rpc: Serve
) -> None:
    now = utc_now()
    other_service = replace(subject, service_id=uuid7())
    stranger = type(subject)()
    await ingest([subject.event(now - timedelta(days=3, hours=1)), subject.event(now - timedelta(hours=5))])
    await ingest([other_service.event(now - timedelta(minutes=3)), stranger.event(now)])
    descriptor = pb.DESCRIPTOR.services_by_name["KeyActivityService"]
    servicer = KeyActivityService(database=database)
    channel = await serve_rpc(descriptor, partial(rpc.add_KeyActivityServiceServicer_to_server, servicer))
    unused = uuid7()
    request = pb.BatchGetKeyActivityRequest(api_key_ids=[str(subject.api_key_id), str(unused)])
    stub, token = rpc.KeyActivityServiceStub(channel), issuer.service_token("keys-svc")
    [activity] = (await invoke(stub.BatchGetKeyActivity, request, token=token)).activities
    assert (activity.api_key_id, activity.requests) == (str(subject.api_key_id), 3)
    used_at = (now - timedelta(minutes=3)).replace(second=0, microsecond=0)
    assert from_timestamp(activity.last_used_at) == used_at
    assert await callers_let_in(channel, descriptor, issuer) == {"BatchGetKeyActivity": {"keys-svc"}}


async def test_its_query_is_a_query(database: Database[Store]) -> None:
    async with database.connection() as connection:
        for name in KeyActivityStore.queries.names():
            await KeyActivityStore.queries.prepare(connection, name)
    assert set(KeyActivityStore.queries.names()) == KeyActivityStore.declared()
