"""What billing-svc asks usage-svc: what was recorded, and the proof of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date
from uuid import UUID

from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.client import invoke

# A page of events takes at most a second, on an idle machine.
_TIMEOUT_S = 10.0
EVENTS_PER_PAGE = 500
# A third of what gRPC takes as one message.
_TOTALS_PER_PAGE = 5_000


class UsageClient:
    """`token` gives an access token of billing-svc. Methods raise AppError as invoke() does."""

    def __init__(self, stub: rpc.UsageServiceStub, token: Callable[[], Awaitable[str]]) -> None:
        self._stub = stub
        self._token = token

    async def list_day_totals(
        self, first_day: date, last_day: date, *, merchant_id: UUID | None, consumer_id: UUID | None
    ) -> Sequence[pb.DayTotal]:
        """By day and merchant; None stands for all."""
        request = pb.ListDayTotalsRequest(
            merchant_id=str(merchant_id or ""),
            consumer_id=str(consumer_id or ""),
            first_day=first_day.isoformat(),
            last_day=last_day.isoformat(),
        )
        answer = await invoke(
            self._stub.ListDayTotals, request, token=await self._token(), timeout_s=_TIMEOUT_S
        )
        return answer.totals

    async def list_consumer_day_totals(
        self, day: date, merchant_ids: Sequence[UUID]
    ) -> AsyncIterator[pb.DayTotal]:
        """The same of one day by merchant and consumer."""
        request = pb.ListConsumerDayTotalsRequest(
            day=day.isoformat(), merchant_ids=map(str, merchant_ids), page_size=_TOTALS_PER_PAGE
        )
        while True:
            answer = await invoke(
                self._stub.ListConsumerDayTotals, request, token=await self._token(), timeout_s=_TIMEOUT_S
            )
            for total in answer.totals:
                yield total
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def list_day_roots(
        self, merchant_id: UUID, first_day: date, last_day: date
    ) -> Sequence[pb.DayRoot]:
        """By day and edition."""
        request = pb.ListDayRootsRequest(
            merchant_id=str(merchant_id), first_day=first_day.isoformat(), last_day=last_day.isoformat()
        )
        answer = await invoke(
            self._stub.ListDayRoots, request, token=await self._token(), timeout_s=_TIMEOUT_S
        )
        return answer.roots

    async def list_proven_events(
        self,
        merchant_id: UUID,
        consumer_id: UUID,
        service_id: UUID,
        first_day: date,
        last_day: date,
        page_token: str,
        page_size: int = EVENTS_PER_PAGE,
    ) -> pb.ListProvenEventsResponse:
        """A page of them, in the order of their ids. A token is the id of the event before."""
        request = pb.ListProvenEventsRequest(
            merchant_id=str(merchant_id),
            consumer_id=str(consumer_id),
            service_id=str(service_id),
            first_day=first_day.isoformat(),
            last_day=last_day.isoformat(),
            page_size=page_size,
            page_token=page_token,
        )
        return await invoke(
            self._stub.ListProvenEvents, request, token=await self._token(), timeout_s=_TIMEOUT_S
        )
