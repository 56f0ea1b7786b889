"""What single keys have cost since a day, for keys-svc alone."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from ams.billing.v1 import key_cost_service_pb2 as pb
from ams.billing.v1 import key_cost_service_pb2_grpc as rpc
from ams_common.client import invoke
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from billing_svc.rpc.key_costs import KeyCostService
from billing_svc.store import Store
from billing_svc.testing import Events, Group

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Scope = pb.BatchGetKeyCostRequest.Scope


@pytest.fixture
async def ask(database: Database[Store], issuer: TestIssuer, serve_rpc: Serve) -> Any:
    """`await ask(scope, …)`: what each has cost, by currency."""
    servicer = KeyCostService(database=database, clock=lambda: NOW)
    descriptor = pb.DESCRIPTOR.services_by_name["KeyCostService"]
    channel = await serve_rpc(descriptor, partial(rpc.add_KeyCostServiceServicer_to_server, servicer))
    assert await callers_let_in(channel, descriptor, issuer) == {"BatchGetKeyCost": {"keys-svc"}}

    async def costs(*scopes: Any) -> list[dict[str, str]]:
        request = pb.BatchGetKeyCostRequest(scopes=scopes)
        method = rpc.KeyCostServiceStub(channel).BatchGetKeyCost
        answer = await invoke(method, request, token=issuer.service_token("keys-svc"))
        return [
            {money.currency_code: f"{to_decimal(money).normalize():f}" for money in each.amounts}
            for each in answer.costs
        ]

    return costs


async def test_a_key_costs_what_it_used_since_the_day_over_months_and_currencies(
    ask: Any, events: Events
) -> None:
    euro, yen = await events.priced_service("1"), await events.priced_service("10", "JPY")
    consumer_id, key, other = uuid7(), uuid7(), uuid7()

    def used(priced: Any, day: str, api_key_id: Any, count: int) -> Any:
        return Group(priced, consumer_id, day, api_key_id=api_key_id).total(count)

    await events.usage(
        used(euro, "2026-10-30", key, 2),
        used(euro, "2026-11-04", key, 3),
        used(euro, "2026-11-05", key, 5),
        used(yen, "2026-11-05", key, 1),
        used(euro, "2026-11-05", other, 100),
    )

    def scope(since: str, api_key_id: Any = key, whose: Any = consumer_id) -> Any:
        return Scope(consumer_id=str(whose), api_key_id=str(api_key_id), since=since)

    assert await ask(
        scope("2026-11-06"),
        scope("2026-11-05"),
        scope("2026-11-01"),
        scope("2026-10-30"),
        scope("2026-10-31"),
        scope("2026-10-30", whose=uuid7()),
    ) == [
        {},
        {"EUR": "5", "JPY": "10"},
        {"EUR": "8", "JPY": "10"},
        {"EUR": "10", "JPY": "10"},
        {"EUR": "8", "JPY": "10"},
        {},
    ]
    with pytest.raises(InvalidArgumentError):
        await ask(scope("2025-11-01"))
