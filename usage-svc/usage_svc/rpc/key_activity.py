"""The RPC of KeyActivityService: when keys were last used, and how often."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.usage.v1 import key_activity_service_pb2 as pb
from ams.usage.v1 import key_activity_service_pb2_grpc as rpc
from ams_common.clock import to_timestamp
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.queries import QueryStore, many

from usage_svc.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyActivity:
    api_key_id: UUID
    requests: int
    last_used_at: datetime


class KeyActivityStore(QueryStore, package="usage_svc", file="key_activity.sql"):
    list_key_activity = many(KeyActivity)


@dataclass(kw_only=True, eq=False)
class KeyActivityService(rpc.KeyActivityServiceServicer):
    database: Database[Store]

    async def BatchGetKeyActivity(
        self, request: pb.BatchGetKeyActivityRequest, context: Context
    ) -> pb.BatchGetKeyActivityResponse:
        async with self.database.read() as store:
            activities = await KeyActivityStore(store.connection).list_key_activity(
                api_key_ids=[UUID(key_id) for key_id in request.api_key_ids]
            )
        return pb.BatchGetKeyActivityResponse(
            activities=[
                pb.KeyActivity(
                    api_key_id=str(each.api_key_id),
                    last_used_at=to_timestamp(each.last_used_at),
                    requests=each.requests,
                )
                for each in activities
            ]
        )
