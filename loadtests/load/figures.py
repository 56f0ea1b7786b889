"""The PRD's targets, and what was measured beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.load.stage import Results, Row

# A machine that can't send or answer at the rate asked for hasn't shown the target.
LEAST_SHARE_OF_RATE = 0.95


@dataclass(frozen=True)
class Target:
    """At `requests_per_s` that share of the answers takes at most `limit_ms`."""

    row: str
    requests_per_s: float
    percentile: int  # 90 or 95
    limit_ms: float
    # Each must be among the answers: a limiter that lets everything through doesn't pass for a fast one.
    statuses: frozenset[int] = frozenset({200})

    def problem(self, row: Row) -> str:
        """What keeps it from being met; "" when nothing does."""
        if row.failures:
            return "failures"
        if row.requests_per_s < LEAST_SHARE_OF_RATE * self.requests_per_s:
            return "rate missed"
        if unseen := sorted(self.statuses - {int(status) for status in row.statuses}):
            return f"no {unseen[0]}"
        return "missed" if self.measured_ms(row) > self.limit_ms else ""

    def measured_ms(self, row: Row) -> float:
        return {90: row.p90_ms, 95: row.p95_ms}[self.percentile]


def table(results: Results, targets: Sequence[Target]) -> tuple[str, bool]:
    """The lines to print, and whether every target is met."""
    columns = f"{'requests':>9}{'failures':>9}{'req/s':>8}{'p50':>7}{'p90':>7}{'p95':>7}{'p99':>7}"
    lines = [f"{'scenario':14}{columns}  {'target':29}{'':12}answers"]
    rows = {row.name: row for row in results.rows}
    met = True
    for target in targets:
        row = rows.get(target.row) or Row.of(target.row, [], 1)
        problem = target.problem(row)
        met = met and not problem
        wanted = f"p{target.percentile} ≤ {target.limit_ms:.0f} ms at {target.requests_per_s:.0f}/s"
        lines.append(f"{_cells(row)}  {wanted:29}{problem or 'ok':12}{_shares(row)}")
    return "\n".join([*lines, *(f"  unexpected: {line}" for line in results.complaints)]), met


def _cells(row: Row) -> str:
    times = "".join(f"{time_ms:>7.0f}" for time_ms in (row.p50_ms, row.p90_ms, row.p95_ms, row.p99_ms))
    return f"{row.name:14}{row.requests:>9,}{row.failures:>9,}{row.requests_per_s:>8.1f}{times}"


def _shares(row: Row) -> str:
    """How many percent of the answers had each status."""
    return ", ".join(f"{count / row.requests:.1%} {status}" for status, count in row.statuses.items())
