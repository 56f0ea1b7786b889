"""Changes that somebody makes through docker instead of an RPC, and their audit records."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ams.policy.v1.policy_pb2 import Rule
from ams_common.context import Caller, RequestContext, current_request_id, request_context
from ams_common.database import Change, Database

from registry_svc.auth.principals import Principal
from registry_svc.storage.rows import Image
from registry_svc.storage.store import Store


@asynccontextmanager
async def change_by(database: Database[Store], action: str, by: Principal) -> AsyncIterator[Change[Store]]:
    """A change by who signed in with a push token or an API key. No RPC's rule gives it its audit name:
    `action` does."""
    call = RequestContext(current_request_id(), Caller(user_id=by.user_id), Rule(audit=action))
    reset = request_context.set(call)
    try:
        async with database.change() as change:
            yield change
    finally:
        request_context.reset(reset)


def audit_image(change: Change[Store], image: Image, by: Principal, **details: str) -> None:
    """Writes down what was done with the version, and with which credential."""
    version = {"name": image.name, "tag": image.tag, "digest": image.digest}
    change.audit("image", image.image_id, **version, **by.audit_details, **details)
