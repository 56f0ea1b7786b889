"""Changes that meet on the same rows wait for each other, and never in a circle (docs/locks.md)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1.events_pb2 import PROJECT_MANAGER
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import alert_service_pb2 as pb
from ams.usage.v1 import alert_service_pb2_grpc as rpc
from ams_common.client import invoke
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Change, Database
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.meetings import begin, mingle
from ams_common.testing.projects import a_project
from ams_common.testing.tokens import TestIssuer
from usage_svc.alerting.store import AlertStore
from usage_svc.projects import apply_projects
from usage_svc.rpc.alerts import AlertService
from usage_svc.store import Store

pytestmark = pytest.mark.usefixtures("no_deadlock")

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AlertService"]
TODAY = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database[Store]]:
    """With a connection for each caller."""
    async with Database.open(database_url, Store, size=20) as opened:
        yield opened


@pytest.fixture
async def alerts(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]], database: Database[Store], pseudonyms: Pseudonyms
) -> rpc.AlertServiceStub:
    service = AlertService(
        database=database,
        pseudonyms=pseudonyms,
        sealer=Sealer(DEVELOPMENT_SEALING_KEYS),
        allow_private_webhooks=False,
    )
    channel = await serve_rpc(DESCRIPTOR, partial(rpc.add_AlertServiceServicer_to_server, service))
    return rpc.AlertServiceStub(channel)


def new_rule(**fields: Any) -> pb.CreateAlertRuleRequest:
    usual = {"name": "mine", "metric": pb.REQUEST_COUNT, "period": pb.ALERT_DAY, "thresholds": ["3"]}
    return pb.CreateAlertRuleRequest(**{**usual, **fields})


async def fire_in(change: Change[Store], rule_ids: Sequence[str]) -> None:
    """As the evaluator does."""
    await AlertStore(change.connection).add_alerts(
        alert_ids=[uuid7() for _ in rule_ids],
        rule_ids=[UUID(each) for each in rule_ids],
        starts=[TODAY] * len(rule_ids),
        thresholds=["3"] * len(rule_ids),
        values=["4"] * len(rule_ids),
        now=utc_now(),
    )


async def fire(database: Database[Store], rule_ids: Sequence[str]) -> None:
    async with database.change_by_system("alert.fire", audited=False) as change:
        await fire_in(change, rule_ids)


async def test_two_processes_fire_the_same_alerts(
    alerts: rpc.AlertServiceStub, database: Database[Store], issuer: TestIssuer
) -> None:
    token = issuer.user_token(uuid7(), CONSUMER)
    made = [await invoke(alerts.CreateAlertRule, new_rule(), token=token) for _ in range(3)]
    rule_ids = [each.alert_rule.alert_rule_id for each in made]
    async with database.change_by_system("alert.fire", audited=False) as change:
        await fire_in(change, rule_ids[1:2])
        calls = await begin(database, fire(database, rule_ids), fire(database, rule_ids[::-1]))
    await asyncio.gather(*calls)
    fired = (await invoke(alerts.ListAlerts, pb.ListAlertsRequest(), token=token)).alerts
    assert sorted(each.alert_rule_id for each in fired) == sorted(rule_ids)


async def test_sixteen_at_once_change_one_persons_rules_and_alerts(
    alerts: rpc.AlertServiceStub, database: Database[Store], issuer: TestIssuer
) -> None:
    user_id, other_id, project_id = uuid7(), uuid7(), uuid7()
    token = issuer.user_token(user_id, CONSUMER)

    async def tell_project(version: int, *others: UUID) -> None:
        roles = dict.fromkeys(others, PROJECT_MANAGER)
        project = a_project(user_id, roles, project_id=project_id, version=version)
        async with database.change_by_system("consume", audited=False) as change:
            await apply_projects(change, [project])

    await tell_project(1, other_id)
    rules: list[str] = []

    async def create(**fields: Any) -> None:
        made = await invoke(alerts.CreateAlertRule, new_rule(**fields), token=token)
        rules.append(made.alert_rule.alert_rule_id)

    async def delete() -> None:
        if rules:
            await invoke(
                alerts.DeleteAlertRule, pb.DeleteAlertRuleRequest(alert_rule_id=rules.pop(0)), token=token
            )

    for _ in range(4):
        await create()
    read = pb.MarkAlertsReadRequest(until=to_timestamp(utc_now()))
    done = await mingle(
        [
            create,
            partial(create, project_id=str(project_id)),
            delete,
            lambda: fire(database, rules),
            lambda: fire(database, rules[::-1]),
            partial(invoke, alerts.MarkAlertsRead, read, token=token),
            partial(tell_project, 2),
            partial(tell_project, 3, other_id),
        ]
    )
    assert done
