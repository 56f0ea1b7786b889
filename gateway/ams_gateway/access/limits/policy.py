"""What limits the calls of one key to one service, and which counters in Redis those limits are kept in."""

from dataclasses import dataclass
from typing import Literal

from ams_gateway.access.limits.window import NO_LIMIT, Limits

# What can be the reason of a refusal.
Bound = Literal["minute", "day", "month", "spend"]
BOUNDS: tuple[Literal["minute", "day", "month"], ...] = ("minute", "day", "month")

# Counting without a cap. The largest that Redis' scripts hold exactly: 9,007,199 units of a currency, above
# what keys-svc takes for a cap.
UNCAPPED = 2**53


@dataclass(frozen=True, slots=True)
class SpendCap:
    scope: Literal["key", "project", "consumer"]
    scope_id: str
    amount_nanos: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPolicy:
    """0 stands for no limit and no quota, and for a price that isn't there: no spend cap refuses such calls.
    `price_nanos` is what of a call's price is known before it; the rest is charged after it. Caps in another
    currency than the price's don't count its calls. Test calls aren't billed: no cap counts them.
    `is_per_key`: the limits of calls are the key's own, not its consumer's over all keys."""

    service_id: str
    consumer_id: str
    key_id: str
    is_test: bool = False
    is_per_key: bool = False
    per_minute: int = 0
    per_day: int = 0
    per_month: int = 0
    price_nanos: int = 0
    currency: str = ""
    caps: tuple[SpendCap, ...] = ()
    # Whether what the key has spent is counted although it has no cap, for the cost headers.
    shows_costs: bool = False


@dataclass(frozen=True, slots=True)
class CounterId:
    """A counter's two Redis keys lie on one node of a cluster, by the tag in the braces."""

    name: str

    @property
    def keys(self) -> tuple[str, str]:
        return f"{self.name}:minute", f"{self.name}:calendar"


def request_counter(policy: LimitPolicy) -> tuple[CounterId, Limits] | None:
    """Where the calls are counted: by service, and by consumer over all its keys of a kind, or by key."""
    limits = Limits(*(limit or NO_LIMIT for limit in (policy.per_minute, policy.per_day, policy.per_month)))
    if limits == Limits():
        return None
    if policy.is_per_key:
        return CounterId(f"ams:limit:{{{policy.service_id}:key:{policy.key_id}}}"), limits
    kind = "test" if policy.is_test else "live"
    return CounterId(f"ams:limit:{{{policy.service_id}:{policy.consumer_id}}}:{kind}"), limits


def spend_counter(scope: str, scope_id: str, currency: str) -> CounterId:
    return CounterId(f"ams:limit:{{{scope}:{scope_id}}}:spend:{currency}")


def spend_counters(policy: LimitPolicy) -> dict[CounterId, Limits]:
    """Where the money is counted, in nanos."""
    if policy.is_test or policy.price_nanos <= 0:
        return {}
    caps = {
        spend_counter(cap.scope, cap.scope_id, cap.currency): Limits(month=min(cap.amount_nanos, UNCAPPED))
        for cap in policy.caps
        if cap.currency == policy.currency
    }
    if policy.shows_costs:
        caps.setdefault(spend_counter("key", policy.key_id, policy.currency), Limits(month=UNCAPPED))
    return caps
