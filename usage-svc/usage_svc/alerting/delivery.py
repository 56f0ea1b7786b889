"""Delivering alerts to webhooks: to public addresses, bounded in time and number, again for about a day."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from ams.usage.v1 import alert_service_pb2 as pb
from ams_common import metrics
from ams_common.addresses import is_forbidden
from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.loops import run_forever
from ams_common.sealing import Sealer, SealingError

from usage_svc.alerting.rules import period_words
from usage_svc.alerting.store import AlertStore, Delivery
from usage_svc.alerting.webhooks import is_refused_host, retry_after, signature

log = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
# By then whoever has taken a delivery has ended it, or will never.
_LEASE = timedelta(seconds=60)
_AT_ONCE = 20
_PER_OWNER = 2
_LOOK_UPS = 8
_POLL_S = 2.0
_GONE = 410


class AddressForbiddenError(OSError):
    """A webhook's host resolves to an address that isn't public."""


class PublicResolver(AbstractResolver):
    """Looks names up and checks all that is found; the connection is made to what was checked, so that a name
    which answers differently the next time gains nothing."""

    def __init__(self) -> None:
        # Threads of their own: the loop's are for files, and a dead name server would hold them all.
        self._threads = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="look-up")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        for each in found:
            if is_forbidden(each["host"]):
                raise AddressForbiddenError(f"{host} is at an address that is not public")
        return found

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=of_family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for of_family, _, protocol, _, address in socket.getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM
        )
    ]


@dataclass(kw_only=True, eq=False)
class WebhookDeliverer:
    """Takes what is due and posts it. At least once: receivers tell by the webhook-id."""

    database: Database
    session: aiohttp.ClientSession
    sealer: Sealer
    allow_private: bool
    clock: Clock = utc_now

    async def run(self) -> None:
        """For ever, with a look every two seconds."""

        async def work() -> None:
            while await self.deliver_due():
                pass

        await run_forever("webhooks", work, _POLL_S)

    async def deliver_due(self) -> int:
        """Delivers some; returns how many were due."""
        now = self.clock()
        async with self.database.change_by_system("webhook.claim", audited=False) as change:
            deliveries = await AlertStore(change.connection).claim_deliveries(
                now=now, retry_at=now + _LEASE, per_owner=_PER_OWNER, limit=_AT_ONCE
            )
        await asyncio.gather(*map(self._deliver, deliveries))
        return len(deliveries)

    async def _deliver(self, delivery: Delivery) -> None:
        status = await self._post(delivery)
        is_delivered = status is not None and 200 <= status < 300
        wait = None if is_delivered or status == _GONE else retry_after(delivery.attempts)
        if is_delivered:
            outcome, word = pb.WEBHOOK_DELIVERED, "delivered"
        else:
            outcome, word = (pb.WEBHOOK_FAILED, "failed") if wait is None else (pb.WEBHOOK_PENDING, "retried")
        async with self.database.change_by_system("webhook.result", audited=False) as change:
            await AlertStore(change.connection).set_delivery(
                alert_id=delivery.alert_id, status=outcome, next_at=self.clock() + wait if wait else None
            )
        metrics.counter("ams_webhooks", "Webhooks posted, by outcome.", "outcome").labels(word).inc()

    async def _post(self, delivery: Delivery) -> int | None:
        """The status of the answer, whose body nobody reads; None when there is none."""
        url = urlsplit(delivery.webhook_url)
        # A literal address is looked up by nobody. The setting may have changed since the rule was made.
        if not self.allow_private and (url.scheme != "https" or is_refused_host(url.hostname or "")):
            return None
        body, timestamp_s = body_of(delivery), int(self.clock().timestamp())
        webhook_id = str(delivery.alert_id)
        try:
            secret = self.sealer.unseal(delivery.webhook_secret).decode()
        except SealingError as error:
            # Its key may come back: an operator has taken it out of the settings.
            log.error("a webhook's secret can't be unsealed", extra={"error": repr(error)})
            return None
        headers = {
            "content-type": "application/json",
            "user-agent": "AMS-Webhooks/1",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(secret, webhook_id, timestamp_s, body),
        }
        try:
            async with self.session.post(
                delivery.webhook_url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, ValueError):
            # ValueError: of what can't be a URL's host to the library, though it is to us.
            return None


def body_of(delivery: Delivery) -> bytes:
    """The message; the same at each attempt."""
    message: dict[str, Any] = {
        "type": "usage.threshold_reached",
        "timestamp": delivery.fired_at.isoformat().replace("+00:00", "Z"),
        "data": {
            "alert_id": str(delivery.alert_id),
            "alert_rule_id": str(delivery.alert_rule_id),
            "rule_name": delivery.rule_name,
            "metric": pb.AlertMetric.Name(delivery.metric).lower(),
            "period": period_words(delivery.period, delivery.period_start),
            "threshold": delivery.threshold,
            "value": delivery.value,
            "currency_code": delivery.currency_code,
        },
    }
    return json.dumps(message, separators=(",", ":")).encode()


@asynccontextmanager
async def open_session(*, allow_private: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """What webhooks are posted with: no proxy, no cookies, no connection that outlives its request."""
    resolver = None if allow_private else PublicResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=_AT_ONCE, force_close=True)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield session
    if resolver is not None:
        await resolver.close()
