"""Webhooks: posted to a real HTTP server on this machine, and checked as a receiver would."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import alert_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from standardwebhooks.webhooks import Webhook
from usage_svc.alerting.delivery import AddressForbiddenError, PublicResolver, WebhookDeliverer, open_session
from usage_svc.alerting.store import AlertStore
from usage_svc.alerting.webhooks import is_refused_host, new_secret, retry_after
from usage_svc.store import Store

SEALER = Sealer(DEVELOPMENT_SEALING_KEYS)


class Receiver:
    """A server that keeps what it gets, and answers with `status` as soon as `answers` is set."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_asked = asyncio.Event()
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append((dict(request.headers), await request.read()))
        self.is_asked.set()
        await self.answers.wait()
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    kept = Receiver()
    application = web.Application()
    application.router.add_post("/{path:.*}", kept.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kept.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    yield kept
    kept.answers.set()
    await runner.cleanup()


class Clock:
    """Tells a time that the test moves."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def deliverer(database: Database[Store], clock: Clock) -> AsyncIterator[WebhookDeliverer]:
    async with open_session(allow_private=True) as session:
        yield WebhookDeliverer(
            database=database, session=session, sealer=SEALER, allow_private=True, clock=clock
        )


async def fire(database: Database, url: str, at: datetime, *, owner_id: UUID | None = None) -> str:
    """Lets an alert of a new rule fire; returns the webhook's secret."""
    rule_id, secret = uuid7(), new_secret()
    async with database.change_by_system("test", audited=False) as change:
        store = AlertStore(change.connection)
        await store.add_rule(
            alert_rule_id=rule_id,
            owner_id=owner_id or uuid7(),
            role=CONSUMER,
            name="mine",
            metric=pb.REQUEST_COUNT,
            period=pb.ALERT_MONTH,
            thresholds=["10"],
            currency_code="",
            service_id=None,
            api_key_id=None,
            project_id=None,
            consumer="",
            key="",
            consumer_id=None,
            merchant_id=None,
            min_requests=0,
            sends_mail=False,
            webhook_url=url,
            webhook_secret=SEALER.seal(secret.encode()),
            created_at=at,
        )
        await store.add_alerts(
            alert_ids=[uuid7()],
            rule_ids=[rule_id],
            starts=[at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)],
            thresholds=["10"],
            values=["12"],
            now=at,
        )
    return secret


async def states(database: Database) -> list[tuple[int, int]]:
    """Status and attempts of each alert's webhook."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT webhook_status, webhook_attempts FROM alerts ORDER BY alert_id")
    return [tuple(row) for row in rows]


async def test_a_receiver_can_prove_whom_a_message_is_from(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    secret = await fire(database, receiver.url, clock.now)
    assert await deliverer.deliver_due() == 1
    ((headers, body),) = receiver.got
    lower = {name.lower(): value for name, value in headers.items()}
    message = Webhook(secret).verify(body, lower)
    assert message["data"]["value"] == "12"
    assert message["data"]["period"] == f"{clock.now:%Y-%m}"
    assert message["data"]["alert_id"] == lower["webhook-id"]
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(new_secret()).verify(body, lower)
    assert await states(database) == [(pb.WEBHOOK_DELIVERED, 1)]
    assert await deliverer.deliver_due() == 0


async def test_what_is_refused_is_posted_again_for_about_a_day(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    receiver.status = 500
    began = clock.now
    await fire(database, receiver.url, clock.now)
    for attempt in range(1, 8):
        assert await deliverer.deliver_due() == 1
        assert await deliverer.deliver_due() == 0
        wait = retry_after(attempt)
        assert wait
        clock.now += wait
    assert await states(database) == [(pb.WEBHOOK_PENDING, 7)]
    assert timedelta(hours=20) < clock.now - began < timedelta(hours=30)
    await deliverer.deliver_due()
    assert await states(database) == [(pb.WEBHOOK_FAILED, 8)]
    clock.now += timedelta(days=2)
    assert await deliverer.deliver_due() == 0
    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    bodies = {body for _, body in receiver.got}
    assert (len(receiver.got), len(ids), len(bodies)) == (8, 1, 1)
    assert json.loads(bodies.pop())["type"] == "usage.threshold_reached"


async def test_a_retry_that_succeeds_ends_it(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    receiver.status = 503
    await fire(database, receiver.url, clock.now)
    await deliverer.deliver_due()
    receiver.status = 200
    clock.now += timedelta(minutes=1)
    await deliverer.deliver_due()
    assert await states(database) == [(pb.WEBHOOK_DELIVERED, 2)]


async def test_who_is_gone_is_not_asked_again(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    receiver.status = 410
    await fire(database, receiver.url, clock.now)
    await deliverer.deliver_due()
    assert await states(database) == [(pb.WEBHOOK_FAILED, 1)]


async def test_redirects_are_not_followed(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    receiver.status, receiver.headers = 307, {"location": receiver.url + "/elsewhere"}
    await fire(database, receiver.url, clock.now)
    await deliverer.deliver_due()
    assert len(receiver.got) == 1
    assert await states(database) == [(pb.WEBHOOK_PENDING, 1)]


async def test_where_nobody_listens_it_is_tried_again(
    database: Database, deliverer: WebhookDeliverer, clock: Clock, nobody_listens: str
) -> None:
    await fire(database, f"http://{nobody_listens}/", clock.now)
    await deliverer.deliver_due()
    assert await states(database) == [(pb.WEBHOOK_PENDING, 1)]


async def test_who_was_killed_while_posting_is_replaced(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    receiver.answers.clear()
    await fire(database, receiver.url, clock.now)
    killed = asyncio.create_task(deliverer.deliver_due())
    await receiver.is_asked.wait()
    assert await deliverer.deliver_due() == 0
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    receiver.answers.set()
    clock.now += timedelta(minutes=2)
    assert await deliverer.deliver_due() == 1
    assert await states(database) == [(pb.WEBHOOK_DELIVERED, 2)]


async def test_one_owners_many_dont_keep_others_waiting(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    greedy = uuid7()
    for _ in range(5):
        await fire(database, receiver.url, clock.now, owner_id=greedy)
    await fire(database, receiver.url, clock.now + timedelta(milliseconds=1))
    clock.now += timedelta(seconds=1)
    assert await deliverer.deliver_due() == 3
    assert (await states(database))[-1] == (pb.WEBHOOK_DELIVERED, 1)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{port}/", "https://localhost:{port}/", "http://hooks.example/"]
)
async def test_nothing_is_posted_to_the_operators_own_network(
    url: str, database: Database, receiver: Receiver, clock: Clock
) -> None:
    port = receiver.url.rsplit(":", 1)[1].partition("/")[0]
    async with open_session(allow_private=False) as session:
        strict = WebhookDeliverer(
            database=database, session=session, sealer=SEALER, allow_private=False, clock=clock
        )
        await fire(database, url.format(port=port), clock.now)
        assert await strict.deliver_due() == 1
    assert not receiver.got
    assert await states(database) == [(pb.WEBHOOK_PENDING, 1)]


async def test_names_that_lead_inside_are_refused_when_they_are_looked_up(receiver: Receiver) -> None:
    resolver = PublicResolver()
    for name in ("localhost", "127.1", "0x7f.1", "2130706433"):
        with pytest.raises(AddressForbiddenError):
            await resolver.resolve(name, 443)
    await resolver.close()
    port = receiver.url.rsplit(":", 1)[1].partition("/")[0]
    async with open_session(allow_private=False) as session:
        with pytest.raises((AddressForbiddenError, aiohttp.ClientError)):
            await session.post(f"http://127.1:{port}/")
    assert not receiver.got


def test_hosts_that_say_themselves_that_they_are_inside() -> None:
    for host in (
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "10.1.2.3",
        "::1",
        "fe80::1%eth0",
        "169.254.169.254",
    ):
        assert is_refused_host(host), host
    for host in ("hooks.example", "8.8.8.8", "2606:4700::1111"):
        assert not is_refused_host(host), host


async def test_a_secret_that_cant_be_unsealed_stops_no_other_delivery(
    database: Database, receiver: Receiver, deliverer: WebhookDeliverer, clock: Clock
) -> None:
    await fire(database, receiver.url, clock.now)
    async with database.connection() as connection:
        await connection.execute("UPDATE alert_rules SET webhook_secret = 'x'")
    await fire(database, receiver.url, clock.now)
    assert await deliverer.deliver_due() == 2
    assert sorted(await states(database)) == [(pb.WEBHOOK_PENDING, 1), (pb.WEBHOOK_DELIVERED, 1)]
