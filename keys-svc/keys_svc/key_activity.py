"""When keys were last used, how often, and what they have cost: asked of usage-svc and billing-svc."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import grpc
from ams.billing.v1 import key_cost_service_pb2 as cost_pb
from ams.billing.v1 import key_cost_service_pb2_grpc as cost_rpc
from ams.keys.v1 import key_settings_service_pb2 as pb
from ams.usage.v1 import key_activity_service_pb2 as activity_pb
from ams.usage.v1 import key_activity_service_pb2_grpc as activity_rpc
from ams_common.client import ServiceToken, invoke
from google.type.money_pb2 import Money

# Readers wait for it.
_TIMEOUT_S = 2.0


class KeyActivities:
    """Calls usage-svc with the service token of keys-svc."""

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken) -> None:
        self._stub = activity_rpc.KeyActivityServiceStub(channel)
        self._token = token

    async def ask(self, key_ids: Sequence[UUID]) -> list[pb.KeyActivity]:
        """One for each key, in their order, also for those never used. Raises AppError."""
        if not key_ids:
            return []
        request = activity_pb.BatchGetKeyActivityRequest(api_key_ids=map(str, key_ids))
        answer = await invoke(
            self._stub.BatchGetKeyActivity, request, token=await self._token.get(), timeout_s=_TIMEOUT_S
        )
        known = {each.api_key_id: each for each in answer.activities}
        activities = []
        for key_id in map(str, key_ids):
            activity = pb.KeyActivity(key_id=key_id)
            if (found := known.get(key_id)) is not None:
                activity.last_used_at.CopyFrom(found.last_used_at)
                activity.requests = found.requests
            activities.append(activity)
        return activities


class KeyCosts:
    """Calls billing-svc with the service token of keys-svc."""

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken) -> None:
        self._stub = cost_rpc.KeyCostServiceStub(channel)
        self._token = token

    async def since(self, consumer_id: UUID, key_id: UUID, moment: datetime) -> Sequence[Money]:
        """What the key's calls have cost since the day of that moment, by currency. Raises AppError."""
        scope = cost_pb.BatchGetKeyCostRequest.Scope(
            consumer_id=str(consumer_id), api_key_id=str(key_id), since=moment.date().isoformat()
        )
        request = cost_pb.BatchGetKeyCostRequest(scopes=[scope])
        answer = await invoke(
            self._stub.BatchGetKeyCost, request, token=await self._token.get(), timeout_s=_TIMEOUT_S
        )
        return answer.costs[0].amounts
