"""What admins' pages share: the audit log, who an actor is, and why a standing wasn't changed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.errors import AppError, FailedPreconditionError
from starlette.responses import Response

from ams_bff.web.forms import Form
from ams_bff.web.sessions import Flash
from ams_bff.web.visits import Visit

_NEWEST = 10
_MOST_PEOPLE = 200


async def audit_of(visit: Visit, resource_id: str) -> list[AuditRecord]:
    """The newest records of a resource."""
    request = pb.ListAuditRecordsRequest(page_size=_NEWEST, resource_id=resource_id)
    return list((await visit.ask(visit.services.identity.ListAuditRecords, request)).audit_records)


async def actor_names(visit: Visit) -> Mapping[str, str]:
    """Addresses by user id, of the newest merchants and consumers and of the reader. Others stand by id."""
    identity = visit.services.identity
    merchants, consumers = await asyncio.gather(
        visit.ask(identity.ListMerchants, pb.ListMerchantsRequest(page_size=_MOST_PEOPLE)),
        visit.ask(identity.ListConsumers, pb.ListConsumersRequest(page_size=_MOST_PEOPLE)),
    )
    names = {"": "somebody not signed in", "system": "AMS itself"}
    names |= {consumer.consumer_id: consumer.email for consumer in consumers.consumers}
    names |= {merchant.merchant_id: merchant.email for merchant in merchants.merchants}
    if visit.person is not None:
        names[visit.person.user_id] = "you"
    return names


async def standing_refused(
    visit: Visit, path: str, error: AppError, show: Callable[[Visit, Form], Awaitable[Response]]
) -> Response:
    """What was done already, by somebody else or by a second click, is no fault: the account's page at `path`
    says so. Else `show` is that page with the form as it was refused."""
    if isinstance(error, FailedPreconditionError):
        return await visit.redirect(path, Flash(error.message, "plain"))
    return await show(visit, visit.form.refused(error))
