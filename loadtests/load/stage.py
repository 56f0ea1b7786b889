"""What the load generator, a process of its own, is told and tells: JSON both ways."""

from dataclasses import dataclass

# Slugs of services that the consumer calls; to the last it has no access.
ECHO = "load-echo"
QUOTES = "load-quotes"
LIMITED = "load-limited"
CLOSED = "load-closed"


@dataclass(frozen=True)
class Stage:
    """The doors and what is behind them."""

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


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    forwarded: int  # requests that a merchant's API answered
    complaints: list[str]  # one line for each kind of unexpected answer
