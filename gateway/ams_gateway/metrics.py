"""The worker's numbers, for prometheus-client.

On the hot path they are plain integers: one of its counters costs as much as deciding a request. What has
been added to them is handed over once a second, and by the worker that answers a scrape just before it.
"""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from ams_common import metrics

from ams_gateway.access.invalidations import Invalidations
from ams_gateway.access.redis_pipe import RedisPipe
from ams_gateway.gateway import Gateway
from ams_gateway.metering.journal import Journal
from ams_gateway.metering.publisher import Publisher

if TYPE_CHECKING:
    from prometheus_client import Counter as PrometheusCounter

_EVERY_S = 1.0


class MetricsExport:
    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        publisher: Publisher,
        pipe: RedisPipe,
        invalidations: Invalidations,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._publisher = publisher
        self._pipe = pipe
        self._invalidations = invalidations
        self._handed_over: Counter[int | str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self.hand_over()
        self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self.open)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.hand_over()

    def hand_over(self) -> None:
        for code, count in self._gateway.answers.items():
            answers().labels(str(code)).inc(count - self._handed_over[code])
            self._handed_over[code] = count
        _sum("in_flight", "Requests that merchants' APIs are answering.", self._gateway.in_flight)
        _sum("journal_bytes", "Unacknowledged bytes on disk.", self._journal.size_bytes)
        _sum(
            "events_unacknowledged", "Events that Kafka hasn't acknowledged.", self._publisher.unacknowledged
        )
        # Of several workers the worst is shown: one that can't is to be seen beside three that can.
        _worst("journal_accepting", "Whether the journal takes events.", self._journal.is_accepting())
        _worst("redis_up", "Whether Redis answers.", self._pipe.is_up)
        _worst("kafka_up", "Whether Kafka answers.", self._publisher.is_connected)
        _worst("invalidations_heard", "Whether invalidations come in.", self._invalidations.is_connected)


def answers() -> "PrometheusCounter":
    return metrics.counter(
        "ams_gateway_answers", "Answers by status of the upstream, or by code of the problem.", "code"
    )


def _sum(name: str, help_text: str, value: int) -> None:
    metrics.gauge(f"ams_gateway_{name}", help_text, over_workers="livesum").set(value)


def _worst(name: str, help_text: str, value: bool) -> None:
    metrics.gauge(f"ams_gateway_{name}", help_text, over_workers="livemin").set(value)
