"""May this key call this service now? Pure: no I/O, no clock. A denial is a value.

What follows it (address checks, the journal, the rate limit) needs I/O and comes after it, in the order of
docs/requirements.md, FR2-MERCH-03.
"""

from ams_gateway.access.snapshots import CachedKey, CachedService
from ams_gateway.http import problems
from ams_gateway.http.problems import Problem


def authorize_key(key: CachedKey | None, now_s: float) -> CachedKey | Problem:
    """The key if it opens anything at `now_s` (Unix time), else the first reason why it doesn't."""
    if key is None:
        return problems.KEY_INVALID
    return (key.problem if now_s < key.expires_at_s else key.problem_once_expired) or key


def authorize_service(
    key: CachedKey, service: CachedService | None, *, is_named: bool = True
) -> CachedService | Problem:
    """The service if the key may call it, else the first reason why not. `is_named`: whether the request
    names one at all."""
    if not is_named:
        return problems.SERVICE_REQUIRED
    # An unknown service and one that isn't granted get the same answer: nobody can probe for names.
    if service is None or service.service_id not in key.service_ids:
        return problems.SERVICE_NOT_GRANTED
    return service.problem or service
