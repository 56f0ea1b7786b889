"""What projects have run up, for their members: of what their owners pay, the part that is theirs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import project_spend_service_pb2 as pb
from ams.billing.v1 import project_spend_service_pb2_grpc as rpc
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.project_rights import ProjectRight
from ams_common.projects import require_right

from billing_svc.day_spend import KEY, share_out_consumers, sum_by_group
from billing_svc.invoices import sum_exactly
from billing_svc.messages import moneys, share_message
from billing_svc.periods import first_day_of, last_day_of, month_before, period_of
from billing_svc.shares import Share
from billing_svc.store import Store


@dataclass(kw_only=True, eq=False)
class ProjectSpendService(rpc.ProjectSpendServiceServicer):
    """All of ams.billing.v1.ProjectSpendService."""

    database: Database[Store]
    clock: Clock = utc_now

    async def GetProjectSpend(
        self, request: pb.GetProjectSpendRequest, context: Context
    ) -> pb.GetProjectSpendResponse:
        project_id = UUID(request.project_id)
        months = [request.period or period_of(self.clock())]
        while len(months) < request.months:
            months.append(month_before(months[-1]))
        async with self.database.read() as store:
            await require_right(store.connection, project_id, current_user_id(), ProjectRight.SEE_SPEND)
            shares = {
                month: await _shares_of(store, project_id, month, KEY if request.by_key else "")
                for month in reversed(months)
            }
        return pb.GetProjectSpendResponse(
            months=[
                pb.ProjectSpend(period=month, totals=moneys(_totals(own)), shares=map(share_message, own))
                for month, own in shares.items()
            ]
        )


async def _shares_of(store: Store, project_id: UUID, month: str, group_by: str) -> list[Share[UUID | None]]:
    """What the project has of each service's spend in a month, by service and, if asked for, by key. Tiers
    count all that whoever pays has used, so it is a share of theirs, as they see it by project: of two
    payers' where it was handed over within the month."""
    payers = await store.list_payers_of_project(
        project_id=project_id, first_day=first_day_of(month), last_day=last_day_of(month)
    )
    shares = share_out_consumers(await store.list_usage_of_keys(payers, {month: False}))
    return sum_by_group((share for share in shares if share.group_id.project_id == project_id), group_by)


def _totals(shares: Iterable[Share[UUID | None]]) -> list[tuple[str, Decimal]]:
    amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
    for share in shares:
        amounts[share.currency].append(share.amount)
    return [(currency, sum_exactly(own)) for currency, own in sorted(amounts.items())]
