"""What the load generator, a process of its own, is told and tells: JSON both ways."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# Slugs of services that the consumer calls; to the last it has no access.
ECHO = "load-echo"
QUOTES = "load-quotes"
LIMITED = "load-limited"
CLOSED = "load-closed"


@dataclass(frozen=True)
class Stage:
    """Where the load goes, and what is there."""

    rest_url: str
    gateway_url: str
    key: str  # of the consumer
    merchant_token: str
    service_ids: list[str]  # of the merchant
    slugs: list[str]
    page_size: int
    second_page_token: str


@dataclass(frozen=True)
class Run:
    """One scenario, by its class's name in `scenarios`, at a constant rate."""

    scenario: str
    requests_per_s: float
    seconds: float


@dataclass(frozen=True)
class Answer:
    """One answer. Its time counts from when the request was due: what a late one before it held up is late
    too, as it was for whoever waited."""

    row: str
    status: int  # 0: none came
    is_expected: bool
    time_ms: float


@dataclass(frozen=True)
class Row:
    """What was measured of the requests of one kind. Response times in milliseconds."""

    name: str
    requests: int
    failures: int
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]  # how many answers had each; JSON's keys are texts

    @classmethod
    def of(cls, name: str, answers: Sequence[Answer], seconds: float) -> "Row":
        times_ms = sorted(answer.time_ms for answer in answers)
        return cls(
            name=name,
            requests=len(answers),
            failures=sum(not answer.is_expected for answer in answers),
            requests_per_s=len(answers) / seconds,
            p50_ms=percentile(times_ms, 50),
            p90_ms=percentile(times_ms, 90),
            p95_ms=percentile(times_ms, 95),
            p99_ms=percentile(times_ms, 99),
            statuses=dict(sorted(Counter(str(answer.status) for answer in answers).items())),
        )


def percentile(sorted_times_ms: Sequence[float], percent: int) -> float:
    """The least of them that so many percent don't exceed; 0 of none."""
    if not sorted_times_ms:
        return 0.0
    return sorted_times_ms[math.ceil(len(sorted_times_ms) * percent / 100) - 1]


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    forwarded: int  # requests that a merchant's API answered
    complaints: list[str]  # one line for each kind of unexpected answer
