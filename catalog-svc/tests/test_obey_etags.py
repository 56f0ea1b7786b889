"""Services and their prices say which state they are in, and are changed only from the one that was seen."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from ams.catalog.v1 import (
    catalog_service_pb2,
    discovery_service_pb2,
    invitation_service_pb2,
    lifecycle_service_pb2,
    openapi_service_pb2,
    revision_service_pb2,
)
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.errors import AbortedError, NotFoundError
from ams_common.ids import uuid7
from ams_common.testing.etags import STALE, assert_obeyed, error_of, rpcs_about_etags, takes_etag
from catalog_svc.testing import Caller, Catalog, price
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass

SERVICES = [
    service
    for module in (
        *(catalog_service_pb2, discovery_service_pb2, invitation_service_pb2),
        *(lifecycle_service_pb2, openapi_service_pb2, revision_service_pb2),
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
RPCS = {rpc.name: rpc for service in SERVICES for rpc in service.methods}
# They make what they answer with: nobody has seen it before.
CREATIONS = {"CreateService"}
# A process is started for each call, which twenty at once would wait for: test_attach_documents.py shows it.
ELSEWHERE = {"SetOpenapiDocument"}
NEW_NAME: Mapping[str, Any] = {"update_mask": FieldMask(paths=["name"]), "name": "Climate"}
# What each is asked with, and the state of the service before.
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "UpdateService": ("draft", NEW_NAME),
    "SubmitService": ("draft", {}),
    "ApproveService": ("submitted", {}),
    "RejectService": ("submitted", {"reason": "No"}),
    "SetUpstreamCredential": ("draft", {"header_name": "X-Secret", "value": "s3cret"}),
    "RotateSigningKey": ("draft", {}),
    "UseSigningKey": ("rotated", {}),
    "WithdrawService": ("active", {}),
    "SuspendService": ("active", {"reason": "Down"}),
    "ReinstateService": ("suspended", {}),
    "RetireService": ("draft", {}),
    "SchedulePrice": ("active", {"price": price("0.003")}),
    "CancelPrice": ("priced", {}),
    "DeleteOpenapiDocument": ("documented", {}),
}
BY_ADMINS = {"ApproveService", "RejectService", "SuspendService", "ReinstateService"}
ABOUT_PRICES = {"SchedulePrice", "CancelPrice"}


class Case:
    """A service in the state that an RPC needs, and those who call."""

    def __init__(
        self, catalog: Catalog, rpc: str, merchant: Caller, service: pb.Service, **more: Any
    ) -> None:
        self.catalog, self.rpc, self.merchant, self.service = catalog, rpc, merchant, service
        self.caller = catalog.admin() if rpc in BY_ADMINS else merchant
        self._fields = {"service_id": service.service_id, **CASES[rpc][1], **more}

    async def read(self) -> Any:
        """What the etag is of."""
        service_id = self.service.service_id
        if self.rpc in ABOUT_PRICES:
            return await self.caller.call(
                self.catalog.stub.ListPrices, pb.ListPricesRequest(service_id=service_id)
            )
        return await self.caller.call(
            self.catalog.stub.GetService, pb.GetServiceRequest(service_id=service_id)
        )

    async def change(self, etag: str, caller: Caller | None = None, **fields: Any) -> Any:
        rpc = RPCS[self.rpc]
        request_type = GetMessageClass(rpc.input_type)
        path = f"/{rpc.containing_service.full_name}/{rpc.name}"
        call = self.catalog.channel.unary_unary(
            path, request_type.SerializeToString, GetMessageClass(rpc.output_type).FromString
        )
        return await (caller or self.caller).call(call, request_type(**{**self._fields, **fields}, etag=etag))


@pytest.fixture(params=CASES)
async def case(request: pytest.FixtureRequest, catalog: Catalog) -> Case:
    rpc, state = request.param, CASES[request.param][0]
    merchant = await catalog.known_merchant()
    if state == "documented":
        draft = await catalog.create(merchant)
        await catalog.attach_document(merchant, draft.service_id)
        return Case(catalog, rpc, merchant, draft)
    if state == "rotated":
        draft = await catalog.create(merchant)
        for _ in range(2):
            rotation = pb.RotateSigningKeyRequest(service_id=draft.service_id)
            await merchant.call(catalog.stub.RotateSigningKey, rotation)
        return Case(catalog, rpc, merchant, draft)
    if state == "draft":
        return Case(catalog, rpc, merchant, await catalog.create(merchant))
    if state == "submitted":
        return Case(catalog, rpc, merchant, await catalog.submit(merchant))
    service = await catalog.publish(merchant)
    if state == "suspended":
        suspending = lifecycle_service_pb2.SuspendServiceRequest(service_id=service.service_id, reason="Down")
        await catalog.admin().call(catalog.lifecycle.SuspendService, suspending)
    if state == "priced":
        version = await catalog.schedule(merchant, service.service_id, "0.004", days=3)
        return Case(catalog, rpc, merchant, service, price_version_id=version.price_version_id)
    more = {"starts_on": catalog.day(2)} if rpc == "SchedulePrice" else {}
    return Case(catalog, rpc, merchant, service, **more)


def test_every_rpc_that_changes_what_has_an_etag_takes_it_and_is_shown_to_obey() -> None:
    assert {name for name, rpc in RPCS.items() if takes_etag(rpc)} == set(CASES) | ELSEWHERE
    assert rpcs_about_etags(SERVICES) - CREATIONS == set(CASES) | ELSEWHERE


async def test_of_twenty_at_once_one_changes_it_and_is_told_its_new_etag(case: Case) -> None:
    answer = await assert_obeyed(case.read, case.change)
    after = await case.read()
    resource = answer.service if case.rpc == "RotateSigningKey" else answer
    if case.rpc not in ABOUT_PRICES:
        # No relay delivers it here, so the answer may say more than the service does later, with one etag.
        resource.ClearField("effective_by")
        assert resource == after


async def test_without_an_etag_it_is_changed_whatever_it_is(case: Case) -> None:
    before = await case.read()
    await case.change("")
    assert (await case.read()).etag != before.etag


async def test_another_tenants_etag_tells_nothing(case: Case) -> None:
    """Neither that there is such a service, nor whether the etag is its own."""
    etag = (await case.read()).etag
    other = await case.catalog.known_merchant("Other")
    if case.rpc in BY_ADMINS:
        refused = [await error_of(case.change(given, service_id=str(uuid7()))) for given in (etag, STALE)]
    else:
        refused = [await error_of(case.change(given, other)) for given in (etag, STALE, "")]
    assert {(type(error), error.code) for error in refused} == {(NotFoundError, "service_not_found")}


async def test_lists_say_the_same_etags_as_the_services_themselves(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    live = await catalog.publish(merchant)
    for name in ("A", "B"):
        await catalog.create(merchant, name=name)
    # With a change that waits.
    await merchant.call(
        catalog.stub.UpdateService, pb.UpdateServiceRequest(service_id=live.service_id, **NEW_NAME)
    )
    own = await merchant.call(catalog.stub.ListMerchantServices, pb.ListMerchantServicesRequest())
    listed = await catalog.admin().call(catalog.stub.ListServices, pb.ListServicesRequest())
    etags = {}
    for service in own.services:
        request = pb.GetServiceRequest(service_id=service.service_id)
        etags[service.service_id] = (await merchant.call(catalog.stub.GetService, request)).etag
    for services in (own.services, listed.services):
        assert {service.service_id: service.etag for service in services} == etags
    assert len(set(etags.values())) == 3


async def test_whatever_is_seen_of_a_service_is_a_part_of_its_etag(catalog: Catalog) -> None:
    """Also what other calls, other people and the calendar change."""
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    case = Case(catalog, "UpdateService", merchant, service)
    seen = [(await case.read()).etag]

    async def look() -> None:
        assert (await case.read()).etag not in seen
        seen.append((await case.read()).etag)

    await case.change(
        "", update_mask=FieldMask(paths=["forwarding.total_timeout_s"]), forwarding={"total_timeout_s": 9}
    )
    await look()
    await case.change("")  # a revision
    await look()
    await case.change("", name="Clouds")  # of the revision alone
    await look()
    await catalog.tell_merchant(merchant, "Acme International")
    await look()
    await catalog.schedule(merchant, service.service_id, "0.009", days=1)
    assert (await case.read()).etag == seen[-1]  # that is told by the list of prices
    catalog.clock.advance(timedelta(days=2))
    await look()
    for etag in seen[:-1]:
        assert isinstance(await error_of(case.change(etag)), AbortedError)


async def test_what_is_answered_again_for_an_idempotency_key_says_the_etag_of_then(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    first = await catalog.create(merchant, idempotency_key="once")
    await Case(catalog, "UpdateService", merchant, first).change(first.etag)
    assert await catalog.create(merchant, idempotency_key="once") == first
