"""UsageService: usage as consumers, merchants and admins may see it."""

from typing import Any, Protocol
from uuid import UUID

import grpc
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from google.protobuf.timestamp_pb2 import Timestamp

from usage_svc.reports import group_name, moment, report, report_range
from usage_svc.store import Cut, Store

Context = grpc.aio.ServicerContext[Any, Any]


class UsageService(rpc.UsageServiceServicer):
    """A filter for what is somebody else's finds nothing: whose usage it is comes from the token."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def GetConsumerUsage(self, request: pb.GetConsumerUsageRequest, context: Context) -> pb.UsageReport:
        cut = _cut(request)
        async with self._database.read() as connection:
            rows = await self._store.usage_of_consumer(
                connection, current_user_id(), cut, api_key_id=_uuid(request.api_key_id)
            )
        return report(cut.period, rows)

    async def GetMerchantUsage(self, request: pb.GetMerchantUsageRequest, context: Context) -> pb.UsageReport:
        cut = _cut(request)
        async with self._database.read() as connection:
            rows = await self._store.usage_of_merchant(
                connection, current_user_id(), cut, key_prefix=request.key_prefix or None
            )
        return report(cut.period, rows)

    async def GetPlatformUsage(self, request: pb.GetPlatformUsageRequest, context: Context) -> pb.UsageReport:
        cut = _cut(request)
        consumer_id, merchant_id = _uuid(request.consumer_id), _uuid(request.merchant_id)
        async with self._database.read() as connection:
            if consumer_id is not None:
                rows = await self._store.usage_of_consumer(
                    connection, consumer_id, cut, merchant_id=merchant_id
                )
            elif merchant_id is not None:
                rows = await self._store.usage_of_merchant(connection, merchant_id, cut)
            else:
                rows = await self._store.usage_of_platform(connection, cut)
        return report(cut.period, rows)


class _ReportRequest(Protocol):
    """What the three requests have in common."""

    @property
    def start(self) -> Timestamp: ...
    @property
    def end(self) -> Timestamp: ...
    @property
    def granularity(self) -> pb.Granularity.ValueType: ...
    @property
    def group_by(self) -> pb.GroupBy.ValueType: ...
    @property
    def service_id(self) -> str: ...
    def HasField(self, field_name: Any, /) -> bool: ...


def _cut(request: _ReportRequest) -> Cut:
    start = moment(request.start, "start") if request.HasField("start") else None
    end = moment(request.end, "end") if request.HasField("end") else None
    return Cut(
        period=report_range(start, end, request.granularity, utc_now()),
        group_by=group_name(request.group_by),
        service_id=_uuid(request.service_id),
    )


def _uuid(text: str) -> UUID | None:
    return UUID(text) if text else None
