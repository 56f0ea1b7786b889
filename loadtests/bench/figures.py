"""What was measured of proxies in interleaved rounds, and the table that compares them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What the consume protocol is aimed at: (name of the rival, share of its CPU).
AIMS = (("before", 0.6), ("nginx + Lua", 1.5))


@dataclass(frozen=True)
class Figures:
    """Of one proxy in one round."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of the proxy's own processes, per request
    redis_us: float  # of Redis, per request
    errors: int


def report(rounds: Mapping[tuple[str, str], Sequence[Figures]]) -> str:
    """By (kind of heads, name of the proxy). Medians of the rounds; the ratios are those of the least CPU,
    since others on the machine only ever add to it."""
    columns = f"{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}{'least':>8}{'Redis µs':>10}"
    ratios = f"{'× nginx':>10}{'× Lua':>8}{'× before':>10}{'errors':>8}"
    lines = []
    for heads in dict.fromkeys(heads for heads, _ in rounds):
        lines += ["", f"{heads + ' heads':20}{columns}{ratios}"]
        for (kind, name), figures in rounds.items():
            if kind == heads:
                compared = [ratio(rounds, heads, name, rival) for rival in ("nginx", "nginx + Lua", "before")]
                lines.append(_row(name, figures, compared))
        for rival, aim in AIMS:
            if (reached := ratio(rounds, heads, "now", rival)) is not None:
                verdict = "reached" if reached <= aim else "MISSED"
                lines.append(f"  aim: at most {aim} × {rival}: {reached:.2f}, {verdict}")
    return "\n".join(lines)


def ratio(
    rounds: Mapping[tuple[str, str], Sequence[Figures]], heads: str, name: str, rival: str
) -> float | None:
    """The proxy's CPU per request, without Redis, over the rival's; None when one wasn't measured."""
    own, other = rounds.get((heads, name)), rounds.get((heads, rival))
    if not own or not other or not (least := min(each.cpu_us for each in other)):
        return None
    return min(each.cpu_us for each in own) / least


def _row(name: str, figures: Sequence[Figures], compared: Sequence[float | None]) -> str:
    def median(field: str) -> float:
        return float(statistics.median(getattr(each, field) for each in figures))

    shown = ["-" if value is None else f"{value:.2f}" for value in compared]
    return (
        f"{name:20}{median('requests_per_s'):>9,.0f}{median('p50_ms'):>9.2f}{median('p99_ms'):>9.1f}"
        f"{median('cpu_us'):>9.1f}{min(each.cpu_us for each in figures):>8.1f}{median('redis_us'):>10.1f}"
        f"{shown[0]:>10}{shown[1]:>8}{shown[2]:>10}{sum(each.errors for each in figures):>8}"
    )
