"""What usage costs, as billing-svc rates it: asked for alerts about spend."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams.usage.v1.alert_service_pb2 import ALERT_DAY
from ams_common.client import ServiceToken, invoke
from ams_common.money import to_decimal

from usage_svc.alerting.rules import AlertRule
from usage_svc.alerting.store import Look

_DEADLINE_S = 3.0
_MOST_SCOPES = 200


def scopes_of(rule: AlertRule, service_ids: Sequence[UUID]) -> list[pb.BatchGetSpendRequest.Scope]:
    """What is asked about for a rule: the sum of these is its spend. `service_ids`: of what its usage was."""

    def scope(service_id: UUID | None, **whose: str) -> pb.BatchGetSpendRequest.Scope:
        return pb.BatchGetSpendRequest.Scope(
            service_id=str(service_id or ""),
            api_key_id=str(rule.api_key_id or ""),
            project_id=str(rule.project_id or ""),
            currency_code=rule.currency_code,
            **whose,
        )

    if rule.consumer_id is None:
        # A rule about a project has no merchant either: the scope's project says whose spend it is.
        return [scope(rule.service_id, merchant_id=str(rule.merchant_id or ""))]
    consumer_id = str(rule.consumer_id)
    if rule.merchant_id is None:
        return [scope(rule.service_id, consumer_id=consumer_id)]
    # Service by service: what the consumer spends with others is none of the merchant's business.
    return [scope(service_id, consumer_id=consumer_id) for service_id in sorted(set(service_ids))]


@dataclass(eq=False)
class SpendClient:
    """Asks billing-svc."""

    stub: rpc.BillingServiceStub
    token: ServiceToken

    async def spend(
        self, looks: Sequence[Look], service_ids: dict[UUID, list[UUID]]
    ) -> dict[tuple[UUID, datetime], Decimal]:
        """The spend of rules in months and days, by rule and their start. Raises AppError."""
        by_period: defaultdict[
            tuple[str, str], list[tuple[tuple[UUID, datetime], pb.BatchGetSpendRequest.Scope]]
        ]
        by_period = defaultdict(list)
        sums: dict[tuple[UUID, datetime], Decimal] = {}
        for rule, start in looks:
            key = (rule.alert_rule_id, start)
            sums[key] = Decimal(0)
            scopes = scopes_of(rule, service_ids.get(rule.alert_rule_id, []))
            day = f"{start:%Y-%m-%d}" if rule.period == ALERT_DAY else ""
            by_period[f"{start:%Y-%m}", day] += [(key, scope) for scope in scopes]
        for (month, day), asked in by_period.items():
            for first in range(0, len(asked), _MOST_SCOPES):
                part = asked[first : first + _MOST_SCOPES]
                request = pb.BatchGetSpendRequest(period=month, day=day, scopes=[scope for _, scope in part])
                answer = await invoke(
                    self.stub.BatchGetSpend, request, token=await self.token.get(), timeout_s=_DEADLINE_S
                )
                for (key, _), amount in zip(part, answer.amounts, strict=True):
                    sums[key] += to_decimal(amount)
        return sums
