"""Who may push and pull what: the rules in the registry's words, pure.

A denial is a sentence for the terminal; None means that there is none.
"""

from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1.events_pb2 import KeySnapshot
from ams.registry.v1.registry_service_pb2 import PUSH_TOKEN_ACTIVE, PUSH_TOKEN_EXPIRED
from ams_common.access import (
    KeyProblem,
    ServiceProblem,
    key_problem,
    may_call_from,
    push_problem,
    service_problem,
)
from ams_common.clock import from_timestamp
from ams_common.networks import read_network

from registry_svc import names
from registry_svc.auth.push_tokens import status_of
from registry_svc.storage.rows import PushToken

KEY_CANNOT_PUSH = "An API key can't push: sign in with a push token."

_KEY_DENIALS = {
    KeyProblem.REVOKED: "This API key was revoked. Create a new one in AMS.",
    KeyProblem.EXPIRED: "This API key has expired. Create a new one in AMS.",
    KeyProblem.DISABLED: "This API key is disabled. Enable it in AMS.",
    KeyProblem.CONSUMER_STOPPED: "This account is blocked. Ask AMS support.",
}


def token_denial(token: PushToken, now: datetime) -> str | None:
    """Says why a push token opens nothing at all."""
    status = status_of(token, now)
    if status == PUSH_TOKEN_EXPIRED:
        return "This push token has expired. Create a new one in AMS."
    return None if status == PUSH_TOKEN_ACTIVE else "This push token was revoked. Create a new one in AMS."


def key_denial(key: KeySnapshot, address: str, now: datetime) -> str | None:
    """Says why an API key opens nothing at all. `address`: where it is used, "" when that isn't known."""
    expires_at_s = from_timestamp(key.expires_at).timestamp()
    problem = key_problem(key.status, expires_at_s, key.consumer_standing, now.timestamp())
    if problem is not None:
        return _KEY_DENIALS[problem]
    is_here = may_call_from([read_network(text) for text in key.allowed_networks], address)
    return None if is_here else "This API key can't be used from this network. Its networks are set in AMS."


def push_denial(token: PushToken, name: str, service: ServiceSnapshot | None) -> str | None:
    """Says why a good push token doesn't open the image `name`; `service` is the token's."""
    if names.repository_of(name) != token.repository:
        return f"This push token is for {token.repository} only."
    if service is None:
        return f"The service behind {token.repository} takes no images."
    problem = push_problem(service.type, service.status, service.merchant_standing)
    if problem is ServiceProblem.MERCHANT_STOPPED:
        return "This merchant is suspended. Ask AMS support."
    return None if problem is None else f"The service behind {token.repository} takes no images."


def pull_denial(key: KeySnapshot, name: str, service_id: UUID, service: ServiceSnapshot | None) -> str | None:
    """Says why a good API key doesn't open the image `name`, of the service `service_id`."""
    if str(service_id) not in key.service_ids:
        return no_access(name)
    return None if is_pullable(service) else f"{name} is not available at the moment."


def is_pullable(service: ServiceSnapshot | None) -> bool:
    """Whether images of the service can be pulled by who has a grant for it."""
    return service is not None and service_problem(service.status, service.merchant_standing) is None


def no_access(name: str) -> str:
    """Says the same of an image that isn't there: nobody finds out which images exist."""
    return f"There is no image {name}, or this API key has no access to it. Request access in AMS first."
