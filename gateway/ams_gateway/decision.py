"""May this key call this service now? Pure: no I/O, no clock. A denial is a value (PRD §10)."""

from ams_gateway import refusals
from ams_gateway.refusals import Refusal
from ams_gateway.subjects import Key, Service


def decide(key: Key | None, service: Service | None, now_s: float, *, named: bool = True) -> Refusal | None:
    """The first reason to refuse, in the PRD's order, or None.

    `named` is False when the request names no service at all. What follows the decision (address
    checks, rate limit) needs I/O and comes after it in the same order.
    """
    return refuse_key(key, now_s) or refuse_service(key, service, named=named)


def refuse_key(key: Key | None, now_s: float) -> Refusal | None:
    if key is None:
        return refusals.KEY_INVALID
    if key.revoked:
        return refusals.KEY_REVOKED
    if now_s >= key.expires_at_s:
        return refusals.KEY_EXPIRED
    if key.consumer_blocked:
        return refusals.CONSUMER_BLOCKED
    return None


def refuse_service(key: Key | None, service: Service | None, *, named: bool) -> Refusal | None:
    """An unknown service and one that isn't granted get the same answer: nobody can probe for names."""
    if not named:
        return refusals.SERVICE_REQUIRED
    if key is None or service is None or service.service_id not in key.service_ids:
        return refusals.SERVICE_NOT_GRANTED
    if service.merchant_suspended:
        return refusals.MERCHANT_SUSPENDED
    if not service.active:
        return refusals.SERVICE_INACTIVE
    if service.target is None:
        return refusals.UPSTREAM_MISCONFIGURED
    return None
