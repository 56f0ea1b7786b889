"""How long a service takes to answer one question after the other."""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

BOUND_MS = 50.0


async def measure(ask: Callable[[T], Awaitable[Any]], about: Iterable[T]) -> list[float]:
    """How long each answer took, in milliseconds, the quickest first."""
    took_ms = []
    for each in about:
        begun_s = time.perf_counter()
        await ask(each)
        took_ms.append((time.perf_counter() - begun_s) * 1000)
    return sorted(took_ms)


def tell(name: str, took_ms: list[float]) -> bool:
    """Prints the question's line; whether its 95th percentile is within BOUND_MS. The quickest come first."""
    p50, p95 = (took_ms[int(len(took_ms) * share)] for share in (0.5, 0.95))
    figures = f"least {took_ms[0]:6.1f} ms  p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  max {took_ms[-1]:6.1f} ms"
    print(f"{name:44} {figures}", flush=True)
    return p95 <= BOUND_MS
