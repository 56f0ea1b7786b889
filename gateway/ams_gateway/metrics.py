"""The worker's numbers, for prometheus-client.

On the hot path they are plain integers: one of its counters costs as much as deciding a request. What has
been added to them is handed over once a second, and by the worker that answers a scrape just before it.
"""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from ams_common import metrics

from ams_gateway.runtime import Runtime

if TYPE_CHECKING:
    from prometheus_client import Counter as PrometheusCounter


_EVERY_S = 1.0


class MetricsExport:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
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
        runtime = self._runtime
        for code, count in runtime.gateway.answers.items():
            answers().labels(str(code)).inc(count - self._handed_over[code])
            self._handed_over[code] = count
        _sum("in_flight", "Requests that merchants' APIs are answering.", runtime.gateway.in_flight)
        _sum("journal_bytes", "Unacknowledged bytes on disk.", runtime.journal.size_bytes)
        _sum(
            "events_unacknowledged",
            "Events that Kafka hasn't acknowledged.",
            runtime.publisher.unacknowledged,
        )
        # Of several workers the worst is shown: one that can't is to be seen beside three that can.
        _worst("ready", "Whether calls may come.", runtime.unready_because is None)
        _worst("journal_accepting", "Whether the journal takes events.", runtime.journal.is_accepting())
        _worst("redis_up", "Whether Redis answers.", runtime.limiter.is_up)
        _worst("kafka_up", "Whether Kafka answers.", runtime.publisher.is_connected)
        _worst("invalidations_heard", "Whether invalidations come in.", runtime.invalidations.is_connected)
        _longest(
            "clock_offset_seconds", "How far the clock is off Redis'.", abs(runtime.clock.offset_s or 0.0)
        )
        _longest(
            "loop_stall_seconds", "The longest that the event loop stood still.", runtime.deadlines.stall_s
        )


def answers() -> "PrometheusCounter":
    return metrics.counter(
        "ams_gateway_answers", "Answers by status of the upstream, or by code of the problem.", "code"
    )


def _sum(name: str, help_text: str, value: int) -> None:
    metrics.gauge(f"ams_gateway_{name}", help_text, over_workers="livesum").set(value)


def _worst(name: str, help_text: str, value: bool) -> None:
    metrics.gauge(f"ams_gateway_{name}", help_text, over_workers="livemin").set(value)


def _longest(name: str, help_text: str, value: float) -> None:
    metrics.gauge(f"ams_gateway_{name}", help_text, over_workers="livemax").set(value)
