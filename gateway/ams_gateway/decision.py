"""May this key call this service now? Pure: no I/O, no clock. A denial is a value (PRD §10)."""

from ams_gateway import problems
from ams_gateway.problems import Problem
from ams_gateway.subjects import Key, Service


def decide(key: Key | None, service: Service | None, now_s: float, *, named: bool = True) -> Problem | None:
    """The first reason to refuse, in the PRD's order, or None.

    `named` is False when the request names no service at all. What follows the decision (address
    checks, rate limit) needs I/O and comes after it in the same order.
    """
    return refuse_key(key, now_s) or refuse_service(key, service, named=named)


def refuse_key(key: Key | None, now_s: float) -> Problem | None:
    if key is None:
        return problems.KEY_INVALID
    if key.revoked:
        return problems.KEY_REVOKED
    if now_s >= key.expires_at_s:
        return problems.KEY_EXPIRED
    if key.consumer_blocked:
        return problems.CONSUMER_BLOCKED
    return None


def refuse_service(key: Key | None, service: Service | None, *, named: bool) -> Problem | None:
    """An unknown service and one that isn't granted get the same answer: nobody can probe for names."""
    if not named:
        return problems.SERVICE_REQUIRED
    if key is None or service is None or service.service_id not in key.service_ids:
        return problems.SERVICE_NOT_GRANTED
    if service.merchant_suspended:
        return problems.MERCHANT_SUSPENDED
    if not service.active:
        return problems.SERVICE_INACTIVE
    if service.target is None:
        return problems.UPSTREAM_MISCONFIGURED
    return None
