"""What an admin sees of a consumer's keys and access, ends, and lets merchants decide by themselves."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import FailedPreconditionError, NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import action
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.views.effects import effect_flash
from ams_bff.views.key_settings import key_activities
from ams_bff.views.naming import name_of, service_names

_SHOWN = 50
_CONSUMER = "/admin/consumers/{account_id}"
_SERVICE = "/admin/services/{service_id}"


async def load_keys_and_grants(visit: Visit, consumer_id: str) -> Mapping[str, Any]:
    """The newest of both, with names and when keys were last used."""
    listed, granted = await asyncio.gather(
        visit.api.grants.ListKeysOfConsumer(consumer_id=consumer_id, page_size=_SHOWN),
        visit.api.grants.ListGrants(consumer_id=consumer_id, page_size=_SHOWN),
    )
    service_ids = {grant.service_id for grant in granted.grants}
    service_ids |= {service_id for key in listed.keys for service_id in key.service_ids}
    names, activities = await asyncio.gather(
        service_names(visit, service_ids), key_activities(visit, listed.keys)
    )
    return {
        "keys": listed.keys,
        "has_more_keys": bool(listed.next_page_token),
        "grants": granted.grants,
        "service_names": {each: name_of(names, each) for each in service_ids},
        "activities": activities,
    }


async def end_grant(visit: Visit) -> Response:
    path = _CONSUMER.format(account_id=visit.parameter("account_id"))
    try:
        ended = await visit.api.grants.EndGrant(
            grant_id=visit.parameter("grant_id"), reason=visit.form["reason"]
        )
    except FailedPreconditionError as error:
        return await visit.redirect(path, Flash(error.message, "plain"))
    return await visit.redirect(path, effect_flash("The access has ended.", ended, visit.zone))


async def load_policy(visit: Visit, service_id: str) -> bool | None:
    """Whether the service's merchant decides requests; None while that can't be told."""
    try:
        policy = await visit.or_none_if_down(visit.api.grants.GetAccessPolicy(service_id=service_id))
    except NotFoundError:
        # keys-svc hasn't heard of the service yet.
        return None
    return policy.merchant_approves if policy is not None else None


async def set_policy(visit: Visit) -> Response:
    service_id, lets = visit.parameter("service_id"), visit.form["merchant_approves"] == "true"
    await visit.api.grants.SetAccessPolicy(service_id=service_id, merchant_approves=lets)
    who = "The merchant and the admins decide" if lets else "Only admins decide"
    return await visit.redirect(
        _SERVICE.format(service_id=service_id), f"{who} who may use this service from now on."
    )


VIEWS = (
    action(f"{_CONSUMER}/grants/{{grant_id}}/end", end_grant, ADMIN),
    action(f"{_SERVICE}/access-policy", set_policy, ADMIN),
)
