"""Who may push and pull what: the rules, pure. A refusal is a sentence for the terminal; None is a yes."""

from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ACTIVE, DOCKER, SERVICE_SUSPENDED, ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KeySnapshot
from ams.registry.v1.registry_service_pb2 import PUSH_TOKEN_ACTIVE, PUSH_TOKEN_EXPIRED
from ams_common.clock import from_timestamp

from registry_svc import names
from registry_svc.auth.push_tokens import PushToken, status_of


def token_refusal(token: PushToken, now: datetime) -> str | None:
    """Why a push token opens nothing at all."""
    status = status_of(token, now)
    if status == PUSH_TOKEN_EXPIRED:
        return "This push token has expired. Create a new one in AMS."
    return None if status == PUSH_TOKEN_ACTIVE else "This push token was revoked. Create a new one in AMS."


def key_refusal(key: KeySnapshot, now: datetime) -> str | None:
    """Why an API key opens nothing at all."""
    if key.consumer_standing != STANDING_ACTIVE:
        return "This account is blocked. Ask AMS support."
    if from_timestamp(key.expires_at) <= now:
        return "This API key has expired. Create a new one in AMS."
    return None if key.status == KEY_ACTIVE else "This API key was revoked. Create a new one in AMS."


def push_refusal(token: PushToken, name: str, service: ServiceSnapshot | None) -> str | None:
    """Why a good push token doesn't open the image `name`; `service` is the token's."""
    if names.repository_of(name) != token.repository:
        return f"This push token is for {token.repository} only."
    if service is None or service.type != DOCKER or service.status == SERVICE_SUSPENDED:
        return f"The service behind {token.repository} takes no images."
    # A merchant that the catalogue hasn't heard of yet has no standing: only a bad one is refused.
    if service.merchant_standing > STANDING_ACTIVE:
        return "This merchant is suspended. Ask AMS support."
    return None


def pull_refusal(
    key: KeySnapshot, name: str, service_id: UUID, service: ServiceSnapshot | None
) -> str | None:
    """Why a good API key doesn't open the image `name`, of the service `service_id`."""
    if str(service_id) not in key.service_ids:
        return no_access(name)
    return None if is_on_offer(service) else f"{name} is not available at the moment."


def is_on_offer(service: ServiceSnapshot | None) -> bool:
    """Whether images of the service can be pulled by who has a grant for it."""
    return service is not None and service.status == ACTIVE and service.merchant_standing == STANDING_ACTIVE


def no_access(name: str) -> str:
    """The same for what isn't there: nobody finds out which images exist."""
    return f"There is no image {name}, or this API key has no access to it. Request access in AMS first."
