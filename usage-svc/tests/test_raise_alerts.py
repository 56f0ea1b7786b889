"""Alerts: rules over the real server, evaluated on real usage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from ams.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from ams.identity.v1.notifications_pb2 import Notification
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import alert_service_pb2 as pb
from ams.usage.v1 import alert_service_pb2_grpc as rpc
from ams_common import topics
from ams_common.client import ServiceToken
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Database
from ams_common.errors import from_rpc_error
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from google.protobuf.timestamp_pb2 import Timestamp
from usage_svc.alerting.evaluating import AlertEvaluator
from usage_svc.alerting.rules import MAX_RULES, Figures, end_of, periods_to_check, reached, start_of
from usage_svc.alerting.spend import SpendClient
from usage_svc.alerting.store import AlertStore
from usage_svc.rpc.alerts import AlertService
from usage_svc.store import Store

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AlertService"]


@pytest.fixture
async def alerts_channel(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]], database: Database[Store], pseudonyms: Pseudonyms
) -> grpc.aio.Channel:
    service = AlertService(
        database=database,
        pseudonyms=pseudonyms,
        sealer=Sealer(DEVELOPMENT_SEALING_KEYS),
        allow_private_webhooks=False,
    )
    return await serve_rpc(DESCRIPTOR, partial(rpc.add_AlertServiceServicer_to_server, service))


class Person:
    """Somebody who asks, in their roles."""

    def __init__(self, stub: rpc.AlertServiceStub, token: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def call(self, name: str, request: Any) -> Any:
        return await getattr(self._stub, name)(request, metadata=self._metadata, timeout=10)

    async def create(self, **fields: Any) -> pb.CreateAlertRuleResponse:
        given = {
            "name": "mine",
            "metric": pb.REQUEST_COUNT,
            "period": pb.ALERT_DAY,
            "thresholds": ["3"],
            "sends_mail": True,
            **fields,
        }
        made: pb.CreateAlertRuleResponse = await self.call(
            "CreateAlertRule", pb.CreateAlertRuleRequest(**given)
        )
        return made

    async def alerts(self, **fields: Any) -> pb.ListAlertsResponse:
        page: pb.ListAlertsResponse = await self.call("ListAlerts", pb.ListAlertsRequest(**fields))
        return page

    async def fired(self) -> list[tuple[str, str]]:
        return sorted((each.threshold, each.value) for each in (await self.alerts()).alerts)


As = Callable[..., Person]


@pytest.fixture
def as_(alerts_channel: grpc.aio.Channel, issuer: TestIssuer) -> As:
    stub = rpc.AlertServiceStub(alerts_channel)
    return lambda user_id, *roles: Person(stub, issuer.user_token(user_id, *roles))


@pytest.fixture
async def spend(nobody_listens: str, own_token: ServiceToken) -> AsyncIterator[SpendClient]:
    """billing-svc is away: what spend comes to is asked of it in tests/test_alert_on_spend.py."""
    async with grpc.aio.insecure_channel(nobody_listens) as channel:
        yield SpendClient(BillingServiceStub(channel), own_token)


@pytest.fixture
def evaluator(database: Database[Store], spend: SpendClient) -> AlertEvaluator:
    return AlertEvaluator(database=database, spend=spend)


async def told(database: Database) -> list[Notification]:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topics.NOTIFICATIONS
        )
    return [Notification.FromString(row["payload"]) for row in rows]


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value).code


async def test_each_rpc_lets_in_exactly_its_callers(
    alerts_channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    people = {"admin", "merchant", "consumer"}
    rpcs = ["CreateAlertRule", "ListAlertRules", "DeleteAlertRule", "ListAlerts", "MarkAlertsRead"]
    assert await callers_let_in(alerts_channel, DESCRIPTOR, issuer) == dict.fromkeys(rpcs, people)


async def test_every_named_query_is_understood_and_declared(database: Database) -> None:
    async with database.connection() as connection:
        for name in AlertStore.queries.names():
            await AlertStore.queries.prepare(connection, name)
    assert set(AlertStore.queries.names()) == AlertStore.declared()


async def test_each_threshold_fires_once_in_a_period_and_its_owner_is_told(
    subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator, database: Database
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    await consumer.create(thresholds=["2", "4", "1000"])
    await ingest([subject.event() for _ in range(3)])
    for _ in range(2):
        await evaluator.evaluate_touched()
        await evaluator.evaluate_all()
    assert await consumer.fired() == [("2", "3")]
    await ingest([subject.event()])
    await evaluator.evaluate_touched()
    assert await consumer.fired() == [("2", "3"), ("4", "4")]
    first, second = await told(database)
    assert first.user_id == str(subject.consumer_id)
    assert (first.threshold_reached.threshold, first.threshold_reached.value) == ("2 requests", "3 requests")
    assert first.threshold_reached.period == f"{utc_now():%Y-%m-%d}"
    assert first.notification_id != second.notification_id


async def test_two_evaluators_at_once_let_nothing_fire_twice(
    subject: Any, ingest: Any, as_: As, database: Database, spend: SpendClient
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    for _ in range(5):
        await consumer.create(thresholds=["1", "2"])
    await ingest([subject.event() for _ in range(3)])
    both = [AlertEvaluator(database=database, spend=spend) for _ in range(2)]
    await asyncio.gather(*(each.evaluate_all() for each in both))
    assert len(await told(database)) == len(await consumer.fired()) == 10


async def test_a_rule_sees_its_owners_usage_only(
    subject: Any, new_subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator, pseudonyms: Pseudonyms
) -> None:
    neighbour = new_subject(merchant_id=subject.merchant_id)
    elsewhere = new_subject(consumer_id=subject.consumer_id)
    await ingest([each.event() for each in (subject, subject, neighbour, elsewhere, elsewhere, elsewhere)])
    name = pseudonyms.of_consumer(subject.merchant_id, subject.consumer_id)
    # What each rule's period comes to; a threshold one higher stays silent.
    rules: list[tuple[Any, int, dict[str, Any]]] = [
        ((subject.consumer_id, CONSUMER), 5, {}),
        ((subject.consumer_id, CONSUMER), 2, {"service_id": str(subject.service_id)}),
        ((subject.consumer_id, CONSUMER), 3, {"api_key_id": str(elsewhere.api_key_id)}),
        ((subject.merchant_id, MERCHANT), 3, {}),
        ((subject.merchant_id, MERCHANT), 2, {"consumer": name}),
        ((neighbour.consumer_id, CONSUMER), 1, {}),
        ((uuid7(), ADMIN), 6, {}),
        ((uuid7(), ADMIN), 5, {"consumer": str(subject.consumer_id)}),
        ((uuid7(), ADMIN), 2, {"service_id": str(subject.service_id)}),
    ]
    for who, comes_to, scope in rules:
        await as_(*who).create(thresholds=[f"{comes_to}", f"{comes_to + 1}"], **scope)
    # Somebody else's names find nothing.
    for stranger in (as_(uuid7(), CONSUMER), as_(uuid7(), MERCHANT)):
        await stranger.create(thresholds=["1"], service_id=str(subject.service_id))
    await evaluator.evaluate_all()
    for who, comes_to, scope in rules:
        assert (f"{comes_to}", f"{comes_to}") in await as_(*who).fired(), scope
    # And nothing else did.
    async with evaluator.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM alerts") == len(rules)


async def test_a_merchants_rule_on_a_key_sees_what_it_calls_of_that_merchant(
    subject: Any, new_subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator, pseudonyms: Pseudonyms
) -> None:
    """In the merchant's own form of the key, which tells nobody whose it is and means nothing elsewhere."""
    with_it = {"consumer_id": subject.consumer_id, "api_key_id": subject.api_key_id}
    elsewhere, neighbour = new_subject(**with_it), new_subject(merchant_id=subject.merchant_id)
    await ingest([each.event() for each in (subject, subject, elsewhere, elsewhere, elsewhere, neighbour)])
    merchant, other = (as_(each.merchant_id, MERCHANT) for each in (subject, elsewhere))
    form = pseudonyms.of_key(subject.merchant_id, subject.api_key_id)
    consumer = pseudonyms.of_consumer(subject.merchant_id, subject.consumer_id)
    for narrower in ({}, {"service_id": str(subject.service_id)}, {"consumer": consumer}):
        made = await merchant.create(key=form, thresholds=["2", "3"], **narrower)
        assert (made.alert_rule.key, made.alert_rule.api_key_id) == (form, "")
    await merchant.create(key=form, service_id=str(neighbour.service_id), thresholds=["1"])
    assert await refusal(other.create(key=form)) == "key_not_found"
    assert await refusal(as_(uuid7(), MERCHANT).create(key=form)) == "key_not_found"
    assert await refusal(merchant.create(key=str(subject.api_key_id))) == "key_not_found"
    await other.create(
        key=pseudonyms.of_key(elsewhere.merchant_id, subject.api_key_id), thresholds=["3", "4"]
    )
    await evaluator.evaluate_touched()
    assert await merchant.fired() == [("2", "2")] * 3
    assert await other.fired() == [("3", "3")]
    told = await merchant.call("ListAlertRules", pb.ListAlertRulesRequest())
    assert str(subject.api_key_id) not in f"{told}{await merchant.alerts()}"
    assert str(subject.consumer_id) not in f"{told}{await merchant.alerts()}"


async def test_an_admins_rule_is_of_a_merchant_a_key_a_project_or_a_service(
    subject: Any, new_subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator
) -> None:
    """And looked at as soon as there was usage of it."""
    in_project = new_subject(project_id=uuid7(), consumer_id=subject.consumer_id)
    neighbour = new_subject(merchant_id=subject.merchant_id, project_id=in_project.project_id)
    await ingest([each.event() for each in (subject, in_project, in_project, neighbour)])
    merchant, project = {"merchant_id": str(subject.merchant_id)}, {"project_id": str(in_project.project_id)}
    key, service = {"api_key_id": str(in_project.api_key_id)}, {"service_id": str(in_project.service_id)}
    rules: list[tuple[dict[str, str], int]] = [
        (merchant, 2),
        (project, 3),
        (key, 2),
        (service, 2),
        (key | service, 2),
        (merchant | project, 1),
        (merchant | {"consumer": str(subject.consumer_id)}, 1),
        (merchant | {"api_key_id": str(subject.api_key_id)}, 1),
        # What nobody has used.
        (merchant | key, 0),
        (key | {"service_id": str(subject.service_id)}, 0),
        ({"merchant_id": str(uuid7())}, 0),
        ({"api_key_id": str(uuid7())}, 0),
    ]
    for scope, comes_to in rules:
        admin = as_(uuid7(), ADMIN)
        limits = [f"{comes_to}", f"{comes_to + 1}"] if comes_to else ["1"]
        made = await admin.create(thresholds=limits, **scope)
        assert {name: getattr(made.alert_rule, name) for name in scope} == scope
        await evaluator.evaluate_touched()
        assert await admin.fired() == ([(f"{comes_to}", f"{comes_to}")] if comes_to else []), scope


async def test_bytes_and_error_rates_fire_too(
    subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator, database: Database
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    await consumer.create(metric=pb.BYTES, thresholds=["440", "441"], period=pb.ALERT_HOUR)
    rate = {"metric": pb.ERROR_RATE, "min_requests": 4, "period": pb.ALERT_MONTH}
    await consumer.create(thresholds=["0.25", "0.26"], **rate)
    await ingest([subject.event(status_code=500)])
    await evaluator.evaluate_all()
    assert not await consumer.fired()
    await ingest([subject.event() for _ in range(3)])
    await evaluator.evaluate_touched()
    assert await consumer.fired() == [("0.25", "0.25"), ("440", "440")]
    words = {each.threshold_reached.threshold for each in await told(database)}
    assert words == {"440 bytes", "25 % errors"}


async def test_usage_of_a_period_that_has_just_ended_still_counts_for_it(
    subject: Any, ingest: Any, as_: As, database: Database, spend: SpendClient
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    await consumer.create()
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    async with database.connection() as connection:
        await connection.execute("UPDATE alert_rules SET created_at = $1", midnight - timedelta(days=1))
    await ingest([subject.event(midnight - timedelta(minutes=1)) for _ in range(3)])
    late = AlertEvaluator(database=database, spend=spend, clock=lambda: midnight + timedelta(hours=7))
    await late.evaluate_all()
    assert not await consumer.fired()
    in_time = AlertEvaluator(database=database, spend=spend, clock=lambda: midnight + timedelta(hours=1))
    await in_time.evaluate_all()
    assert await consumer.fired() == [("3", "3")]


async def test_other_alerts_dont_wait_for_billing(
    subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    await consumer.create(metric=pb.SPEND, period=pb.ALERT_MONTH, currency_code="EUR", thresholds=["1"])
    await consumer.create(thresholds=["1"])
    await ingest([subject.event()])
    await evaluator.evaluate_all()
    assert await consumer.fired() == [("1", "1")]


async def test_late_usage_is_looked_at_when_it_has_been_counted(
    subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator, database: Database
) -> None:
    """Not only when all rules are, a few minutes later; and no more than once."""
    consumer = as_(subject.consumer_id, CONSUMER)
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    evaluator.clock = lambda: midnight + timedelta(hours=5, minutes=59)
    await consumer.create(period=pb.ALERT_DAY)
    async with database.connection() as connection:
        await connection.execute("UPDATE alert_rules SET created_at = $1", midnight - timedelta(days=1))
    await evaluator.evaluate()
    await ingest([subject.event(midnight - timedelta(hours=1)) for _ in range(3)])
    assert not await consumer.fired()
    await evaluator.evaluate()
    assert await consumer.fired() == [("3", "3")]
    async with database.connection() as connection:
        assert not await connection.fetchval("SELECT count(*) FROM late_usage")


async def test_usage_that_comes_in_time_leaves_no_mark(subject: Any, ingest: Any, database: Database) -> None:
    await ingest([subject.event(utc_now() - timedelta(minutes=9))])
    async with database.connection() as connection:
        assert not await connection.fetchval("SELECT count(*) FROM late_usage")


async def test_rules_that_make_no_sense_are_refused(as_: As) -> None:
    consumer, merchant, admin = (as_(uuid7(), role) for role in (CONSUMER, MERCHANT, ADMIN))
    an_id = str(uuid7())
    spends = {"metric": pb.SPEND, "period": pb.ALERT_MONTH, "currency_code": "EUR"}
    cases: list[tuple[Person, dict[str, Any], str]] = [
        (consumer, {"thresholds": []}, "invalid_argument"),
        (consumer, {"thresholds": ["0"]}, "threshold_invalid"),
        (consumer, {"thresholds": ["-1"]}, "threshold_invalid"),
        (consumer, {"thresholds": ["1e9"]}, "threshold_invalid"),
        (consumer, {"thresholds": ["NaN"]}, "threshold_invalid"),
        (consumer, {"thresholds": ["1", "1.0"]}, "threshold_invalid"),
        (consumer, {"thresholds": ["1.5"]}, "threshold_invalid"),
        (consumer, {"metric": pb.ERROR_RATE, "thresholds": ["1.1"], "min_requests": 1}, "threshold_invalid"),
        (consumer, {"metric": pb.ERROR_RATE, "thresholds": ["0.1"]}, "alert_rule_invalid"),
        (consumer, {"min_requests": 5}, "alert_rule_invalid"),
        (consumer, {"currency_code": "EUR"}, "alert_rule_invalid"),
        (consumer, {**spends, "currency_code": "XXY"}, "alert_rule_invalid"),
        (consumer, {**spends, "period": pb.ALERT_HOUR}, "alert_rule_invalid"),
        (admin, spends, "alert_rule_invalid"),
        (admin, {"consumer": "cst_aaaaaaaaaaaaaaaa"}, "consumer_invalid"),
        (consumer, {"consumer": an_id}, "filter_not_offered"),
        (merchant, {"consumer": an_id}, "consumer_invalid"),
        (merchant, {"consumer": "cst_aaaaaaaaaaaaaaaa"}, "consumer_not_found"),
        (merchant, {"api_key_id": an_id}, "filter_not_offered"),
        (merchant, {"project_id": an_id}, "filter_not_offered"),
        (merchant, {"merchant_id": an_id}, "filter_not_offered"),
        (merchant, {"key": "key_aaaaaaaaaaaaaaaa"}, "key_not_found"),
        (merchant, {"key": "k" * 65}, "invalid_argument"),
        (consumer, {"key": "key_aaaaaaaaaaaaaaaa"}, "filter_not_offered"),
        (consumer, {"merchant_id": an_id}, "filter_not_offered"),
        (admin, {"key": "key_aaaaaaaaaaaaaaaa"}, "filter_not_offered"),
        (admin, {"merchant_id": "everybody"}, "invalid_argument"),
        (admin, {**spends, "api_key_id": an_id}, "alert_rule_invalid"),
        (consumer, {"webhook_url": "http://hooks.example/"}, "webhook_url_invalid"),
        (consumer, {"webhook_url": "ftp://hooks.example/"}, "invalid_argument"),
        (consumer, {"webhook_url": "https://localhost/"}, "webhook_url_private"),
        (consumer, {"webhook_url": "https://127.0.0.1/"}, "webhook_url_private"),
        (consumer, {"webhook_url": "https://[::ffff:10.0.0.1]/"}, "webhook_url_private"),
        (consumer, {"webhook_url": "https://169.254.169.254/"}, "webhook_url_private"),
    ]
    for person, fields, code in cases:
        assert await refusal(person.create(**fields)) == code, fields


async def test_rules_and_alerts_are_their_owners(
    subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator
) -> None:
    owner, stranger = as_(subject.consumer_id, CONSUMER), as_(uuid7(), CONSUMER)
    made = await owner.create(thresholds=["1"])
    await ingest([subject.event()])
    await evaluator.evaluate_all()
    rule_id = made.alert_rule.alert_rule_id
    assert not (await stranger.call("ListAlertRules", pb.ListAlertRulesRequest())).alert_rules
    assert not (await stranger.alerts()).alerts
    delete = pb.DeleteAlertRuleRequest(alert_rule_id=rule_id)
    assert await refusal(stranger.call("DeleteAlertRule", delete)) == "alert_rule_not_found"
    in_another_role = as_(subject.consumer_id, MERCHANT)
    assert await refusal(in_another_role.call("DeleteAlertRule", delete)) == "alert_rule_not_found"
    assert (await owner.call("ListAlertRules", pb.ListAlertRulesRequest())).alert_rules == [made.alert_rule]
    await owner.call("DeleteAlertRule", delete)
    assert not (await owner.alerts()).alerts


async def test_what_has_been_seen_is_read(
    subject: Any, ingest: Any, as_: As, evaluator: AlertEvaluator
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    await consumer.create(thresholds=["1"])
    await ingest([subject.event()])
    await evaluator.evaluate_all()
    assert (await consumer.alerts()).unread == 1
    before = pb.MarkAlertsReadRequest(until=to_timestamp(utc_now() - timedelta(hours=1)))
    await consumer.call("MarkAlertsRead", before)
    assert (await consumer.alerts()).unread == 1
    now = pb.MarkAlertsReadRequest(until=to_timestamp(utc_now()))
    await as_(uuid7(), CONSUMER).call("MarkAlertsRead", now)
    assert (await consumer.alerts()).unread == 1
    await consumer.call("MarkAlertsRead", now)
    seen = await consumer.alerts()
    assert (seen.unread, seen.alerts[0].is_read) == (0, True)
    hostile = pb.MarkAlertsReadRequest(until=Timestamp(seconds=2**62))
    assert await refusal(consumer.call("MarkAlertsRead", hostile)) == "invalid_argument"


async def test_an_owner_has_at_most_a_hundred_rules(as_: As) -> None:
    consumer = as_(uuid7(), CONSUMER)
    for _ in range(MAX_RULES):
        await consumer.create()
    assert await refusal(consumer.create()) == "too_many_alert_rules"


async def test_a_webhooks_secret_is_told_once(as_: As, database: Database) -> None:
    consumer = as_(uuid7(), CONSUMER)
    fields = {"webhook_url": "https://hooks.example/a", "idempotency_key": "k"}
    made = await consumer.create(**fields)
    assert made.webhook_secret.startswith("whsec_")
    again = await consumer.create(**fields)
    assert (again.alert_rule, again.webhook_secret) == (made.alert_rule, "")
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT row_to_json(alert_rules)::text AS kept FROM alert_rules")
    assert made.webhook_secret not in rows[0]["kept"]


def test_periods_are_those_of_utc() -> None:
    at = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert start_of(pb.ALERT_HOUR, at) == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert start_of(pb.ALERT_MONTH, at) == datetime(2026, 12, 1, tzinfo=UTC)
    assert end_of(pb.ALERT_MONTH, datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert end_of(pb.ALERT_MONTH, datetime(2028, 2, 1, tzinfo=UTC)) == datetime(2028, 3, 1, tzinfo=UTC)
    new_year = datetime(2027, 1, 1, 0, 1, tzinfo=UTC)
    old = datetime(2026, 1, 1, tzinfo=UTC)
    assert [f"{each:%d %H}" for each in periods_to_check(pb.ALERT_HOUR, old, new_year)] == ["31 23", "01 00"]
    assert periods_to_check(pb.ALERT_MONTH, new_year, new_year) == [datetime(2027, 1, 1, tzinfo=UTC)]


def test_an_error_rate_is_compared_without_rounding() -> None:
    rule: Any = type(
        "Rule", (), {"metric": pb.ERROR_RATE, "thresholds": ["0.333333", "0.333334"], "min_requests": 1}
    )
    assert [each.threshold for each in reached(rule, Figures(requests=3, errors=1))] == ["0.333333"]
    assert not reached(rule, Figures())
