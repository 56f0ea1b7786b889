"""What projects have run up, for their members: of what their owners pay, the part that is theirs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
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

from billing_svc.invoices import sum_exactly
from billing_svc.messages import moneys, share_message
from billing_svc.periods import first_day_of, last_day_of, month_before, period_of
from billing_svc.rating import rate_usage
from billing_svc.shares import Share, share_amounts, share_out
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
                month: await project_shares(
                    store, project_id, first_day_of(month), last_day_of(month), by_key=request.by_key
                )
                for month in reversed(months)
            }
        return pb.GetProjectSpendResponse(
            months=[
                pb.ProjectSpend(period=month, totals=moneys(_totals(own)), shares=map(share_message, own))
                for month, own in shares.items()
            ]
        )


async def project_shares(
    store: Store, project_id: UUID, first_day: date, last_day: date, *, by_key: bool
) -> list[Share]:
    """What the project has of each service's spend in days of a month, by service and, if asked for, by key.
    Tiers count all that whoever pays has used, so it is a share of theirs, as they see it by project."""
    span = {"first_day": first_day, "last_day": last_day}
    shares: list[Share] = []
    for consumer_id in await store.list_payers_of_project(project_id=project_id, **span):
        of_payer = await store.list_usage_of_consumer(consumer_id=consumer_id, group_by="project", **span)
        lines = rate_usage(each.usage for each in of_payer).lines
        all_shares = share_out(lines, [(each.group_id, each.usage) for each in of_payer])
        own = [share for share in all_shares if share.group_id == project_id]
        if by_key:
            of_keys = await store.list_usage_of_project(
                consumer_id=consumer_id, project_id=project_id, **span
            )
            amounts = {(share.service_id, share.currency): share.amount for share in own}
            shares += share_amounts(amounts, [(each.group_id, each.usage) for each in of_keys])
        else:
            shares += [replace(share, group_id=None) for share in own]
    return _summed(shares)


def _summed(shares: Iterable[Share]) -> list[Share]:
    """A project that was handed over within the month has shares of two payers."""
    groups: defaultdict[tuple[UUID, UUID | None, str], list[Share]] = defaultdict(list)
    for share in shares:
        groups[share.service_id, share.group_id, share.currency].append(share)
    return [
        Share(*key, sum_exactly(each.amount for each in own), sum(each.requests for each in own))
        for key, own in sorted(groups.items(), key=lambda item: tuple(map(str, item[0])))
    ]


def _totals(shares: Iterable[Share]) -> list[tuple[str, Decimal]]:
    amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
    for share in shares:
        amounts[share.currency].append(share.amount)
    return [(currency, sum_exactly(own)) for currency, own in sorted(amounts.items())]
