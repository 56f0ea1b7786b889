"""Metrics: prometheus-client in multiprocess mode, so that a scrape sees all workers of a process.

A metric is asked for where it is used: `counter("ams_rpcs", "…", "method").labels(name).inc()`. The client
library decides when it is imported how it keeps values, so it is imported when the first is asked for.
"""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ams_common.settings import parse_listen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

_HTTP_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def share_among_workers() -> None:
    """Keep this process's values, and those of workers that it starts from now on, in one directory.

    To be called before the first metric is asked for. A variable that the process was started with is
    overwritten: its values would be mixed with its parent's.
    """
    directory = tempfile.mkdtemp(prefix="ams-metrics-")
    os.environ[_DIRECTORY] = directory
    atexit.register(_remove, directory, os.getpid())


def serve(listen: str) -> None:
    """Answer scrapes at `listen` ("127.0.0.1:9001") in a thread; "": don't. Raises OSError."""
    if not listen:
        return
    from prometheus_client import start_http_server

    host, port = parse_listen(listen)
    start_http_server(port, host, registry=_registry())


def render() -> bytes:
    """All values of all workers, as Prometheus reads them."""
    from prometheus_client import generate_latest

    return generate_latest(_registry())


@cache
def counter(name: str, help_text: str, *labels: str) -> "Counter":
    """What only grows; prometheus-client adds `_total` to its name."""
    from prometheus_client import Counter

    return Counter(name, help_text, labels)


@cache
def gauge(
    name: str, help_text: str, *labels: str, over_workers: Literal["livesum", "livemin", "livemax"]
) -> "Gauge":
    """What goes up and down; `over_workers` says what becomes of the values of those that live."""
    from prometheus_client import Gauge

    return Gauge(name, help_text, labels, multiprocess_mode=over_workers)


@cache
def histogram(name: str, help_text: str, *labels: str) -> "Histogram":
    """Durations in seconds, in prometheus-client's usual buckets of 5 ms to 10 s."""
    from prometheus_client import Histogram

    return Histogram(name, help_text, labels)


def count_request(method: str, status: int, duration_s: float) -> None:
    """One HTTP request that was answered, or 499 when its client left first."""
    # A stranger's method must not become a time series of its own.
    kind = method if method in _HTTP_METHODS else "other"
    requests = histogram("ams_http_seconds", "HTTP requests answered, by outcome.", "method", "status")
    requests.labels(kind, str(status)).observe(duration_s)


def _registry() -> "CollectorRegistry":
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    class LiveCollector(MultiProcessCollector):
        def collect(self) -> "Iterable[Metric]":
            _drop_dead_workers(Path(os.environ[_DIRECTORY]))
            return super().collect()  # type: ignore[no-any-return, no-untyped-call]

    if _DIRECTORY not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    LiveCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _drop_dead_workers(directory: Path) -> None:
    """A killed worker can't take its gauges away itself: they would be summed up for ever."""
    for path in directory.glob("gauge_live*.db"):
        try:
            os.kill(int(path.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            pass  # its number is somebody else's process by now: shown until that ends


def _remove(directory: str, owner: int) -> None:
    # Forked children run the parent's exit handlers too.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)
