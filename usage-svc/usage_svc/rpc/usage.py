"""The RPCs of UsageService: usage as consumers, merchants and admins may see it."""

from dataclasses import dataclass
from uuid import UUID

from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.interceptors import Context

from usage_svc.messages import report_message
from usage_svc.reports import MAX_POINTS, ReportRange, group_name, moment, report_range
from usage_svc.store import Store

_ReportRequest = pb.GetConsumerUsageRequest | pb.GetMerchantUsageRequest | pb.GetPlatformUsageRequest


@dataclass(kw_only=True, eq=False)
class UsageService(rpc.UsageServiceServicer):
    """A filter for what is somebody else's finds nothing: whose usage it is comes from the token."""

    database: Database[Store]

    async def GetConsumerUsage(self, request: pb.GetConsumerUsageRequest, context: Context) -> pb.UsageReport:
        period = _range(request)
        async with self.database.read() as store:
            rows = await store.usage_of_consumer(
                **_filters(request, period),
                consumer_id=current_user_id(),
                merchant_id=None,
                api_key_id=_uuid(request.api_key_id),
            )
        return report_message(period, rows)

    async def GetMerchantUsage(self, request: pb.GetMerchantUsageRequest, context: Context) -> pb.UsageReport:
        period = _range(request)
        async with self.database.read() as store:
            rows = await store.usage_of_merchant(
                **_filters(request, period),
                merchant_id=current_user_id(),
                key_prefix=request.key_prefix or None,
            )
        return report_message(period, rows)

    async def GetPlatformUsage(self, request: pb.GetPlatformUsageRequest, context: Context) -> pb.UsageReport:
        period = _range(request)
        filters = _filters(request, period)
        consumer_id, merchant_id = _uuid(request.consumer_id), _uuid(request.merchant_id)
        async with self.database.read() as store:
            # Each has an index of its own; one query for all would read the whole platform's rollups.
            if consumer_id is not None:
                rows = await store.usage_of_consumer(
                    **filters, consumer_id=consumer_id, merchant_id=merchant_id, api_key_id=None
                )
            elif merchant_id is not None:
                rows = await store.usage_of_merchant(**filters, merchant_id=merchant_id, key_prefix=None)
            else:
                rows = await store.usage_of_platform(**filters)
        return report_message(period, rows)


def _range(request: _ReportRequest) -> ReportRange:
    start = moment(request.start, "start") if request.HasField("start") else None
    end = moment(request.end, "end") if request.HasField("end") else None
    return report_range(start, end, request.granularity, utc_now())


def _filters(request: _ReportRequest, period: ReportRange) -> dict[str, object]:
    """The parameters that the three queries have in common."""
    return {
        "range_start": period.start,
        "range_end": period.end,
        "granularity": period.granularity_name,
        "group_by": group_name(request.group_by),
        "service_id": _uuid(request.service_id),
        # One more than a report may have shows that there are too many.
        "max_rows": MAX_POINTS + 1,
    }


def _uuid(text: str) -> UUID | None:
    return UUID(text) if text else None
