"""Private services: seen and asked for by those who were invited, and by nobody else."""

import asyncio
from datetime import timedelta

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import invitation_service_pb2 as invitation_pb
from ams.catalog.v1.metadata_pb2 import PRIVATE
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams_common.errors import (
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from ams_common.ids import uuid7
from catalog_svc.testing import Caller, Catalog


async def _private(catalog: Catalog) -> tuple[Caller, pb.Service]:
    merchant = await catalog.known_merchant()
    return merchant, await catalog.publish(merchant, visibility=PRIVATE)


async def _invite(
    catalog: Catalog, caller: Caller, service: pb.Service, max_uses: int = 1
) -> invitation_pb.CreateInvitationResponse:
    request = invitation_pb.CreateInvitationRequest(
        service_id=service.service_id, note="Example Ltd.", max_uses=max_uses, valid_days=7
    )
    return await caller.call(catalog.invitations.CreateInvitation, request)


def _accept(token: str) -> invitation_pb.AcceptInvitationRequest:
    return invitation_pb.AcceptInvitationRequest(token=token)


async def _listed(catalog: Catalog, caller: Caller) -> list[str]:
    listed = await caller.call(catalog.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest())
    found = await caller.call(
        catalog.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest(query="forecasting")
    )
    assert list(found.services) == list(listed.services)
    return [each.service_id for each in listed.services]


async def test_who_accepts_an_invitation_sees_the_service_and_its_prices(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    made = await _invite(catalog, merchant, service)
    consumer = catalog.consumer()
    assert await _listed(catalog, consumer) == []
    accepted = await consumer.call(catalog.invitations.AcceptInvitation, _accept(made.token))
    assert accepted.slug == service.slug
    assert await _listed(catalog, consumer) == [service.service_id]
    request = pb.GetMarketplaceServiceRequest(service=service.slug)
    assert await consumer.call(catalog.stub.GetMarketplaceService, request) == accepted
    prices = pb.ListPricesRequest(service_id=service.service_id)
    assert (await consumer.call(catalog.stub.ListPrices, prices)).prices
    snapshot = pb.GetServiceSnapshotRequest(service=service.service_id, viewer_id=str(consumer.user_id))
    keys_svc = catalog.service("keys-svc")
    assert (await keys_svc.call(catalog.stub.GetServiceSnapshot, snapshot)).slug == service.slug
    assert (await catalog.audits())[-1][1:3] == ("service.accept_invitation", "service")


async def test_a_private_service_is_not_there_for_anybody_else(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    by_slug = pb.GetMarketplaceServiceRequest(service=service.slug)
    assert isinstance(
        await catalog.nobody().error(catalog.stub.GetMarketplaceService, by_slug), NotFoundError
    )
    for caller in (catalog.nobody(), catalog.consumer(), catalog.merchant()):
        assert await _listed(catalog, caller) == []
    for caller in (merchant, catalog.admin()):
        assert (await caller.call(catalog.stub.GetMarketplaceService, by_slug)).slug == service.slug
    # Whether a consumer has access already keys-svc knows, which isn't there: nothing is shown on suspicion.
    error = await catalog.consumer().error(catalog.stub.GetMarketplaceService, by_slug)
    assert isinstance(error, UnavailableError)


async def test_a_revoked_invitation_shows_nothing_any_more(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    made = await _invite(catalog, merchant, service, max_uses=5)
    consumer = catalog.consumer()
    await consumer.call(catalog.invitations.AcceptInvitation, _accept(made.token))
    revoke = invitation_pb.RevokeInvitationRequest(
        service_id=service.service_id, invitation_id=made.invitation.invitation_id
    )
    revoked = await merchant.call(catalog.invitations.RevokeInvitation, revoke)
    assert (revoked.is_open, revoked.uses, revoked.HasField("revoked_at")) == (False, 1, True)
    assert await _listed(catalog, consumer) == []
    for other in (consumer, catalog.consumer()):
        error = await other.error(catalog.invitations.AcceptInvitation, _accept(made.token))
        assert error.code == "invitation_not_found"


async def test_an_invitation_is_used_so_often_and_for_so_long(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    made = await _invite(catalog, merchant, service, max_uses=2)
    consumers = [catalog.consumer() for _ in range(6)]
    answers = await asyncio.gather(
        *(each.call(catalog.invitations.AcceptInvitation, _accept(made.token)) for each in consumers),
        return_exceptions=True,
    )
    winners = [
        consumer
        for consumer, answer in zip(consumers, answers, strict=True)
        if not isinstance(answer, BaseException)
    ]
    assert len(winners) == 2
    # Accepting again takes no use and adds nothing.
    before = await catalog.state()
    await winners[0].call(catalog.invitations.AcceptInvitation, _accept(made.token))
    assert await catalog.state() == before
    late = await _invite(catalog, merchant, service)
    catalog.clock.advance(timedelta(days=7))
    error = await catalog.consumer().error(catalog.invitations.AcceptInvitation, _accept(late.token))
    assert error.code == "invitation_not_found"


async def test_the_token_is_told_once_and_kept_nowhere(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    made = await _invite(catalog, merchant, service)
    listing = invitation_pb.ListInvitationsRequest(service_id=service.service_id)
    for caller in (merchant, catalog.admin()):
        listed = await caller.call(catalog.invitations.ListInvitations, listing)
        assert list(listed.invitations) == [made.invitation]
    assert made.token not in str(await catalog.state())


async def test_invitations_of_others_look_like_none(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    made = await _invite(catalog, merchant, service)
    outsider, other = catalog.merchant(), await catalog.publish(merchant)
    invitation_id = made.invitation.invitation_id
    before = await catalog.state()
    create = invitation_pb.CreateInvitationRequest(
        service_id=service.service_id, note="Me", max_uses=1, valid_days=1
    )
    listing = invitation_pb.ListInvitationsRequest(service_id=service.service_id)
    revoke = invitation_pb.RevokeInvitationRequest(service_id=service.service_id, invitation_id=invitation_id)
    for method, request in (
        (catalog.invitations.CreateInvitation, create),
        (catalog.invitations.ListInvitations, listing),
        (catalog.invitations.RevokeInvitation, revoke),
    ):
        assert isinstance(await outsider.error(method, request), NotFoundError)
    elsewhere = invitation_pb.RevokeInvitationRequest(
        service_id=other.service_id, invitation_id=invitation_id
    )
    missing = invitation_pb.RevokeInvitationRequest(service_id=service.service_id, invitation_id=str(uuid7()))
    for request in (elsewhere, missing):
        assert (
            await merchant.error(catalog.invitations.RevokeInvitation, request)
        ).code == "invitation_not_found"
    create.max_uses = 0
    assert isinstance(
        await merchant.error(catalog.invitations.CreateInvitation, create), InvalidArgumentError
    )
    assert await catalog.state() == before


async def test_a_suspended_merchant_invites_nobody(catalog: Catalog) -> None:
    merchant, service = await _private(catalog)
    made = await _invite(catalog, merchant, service)
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    create = invitation_pb.CreateInvitationRequest(
        service_id=service.service_id, note="Me", max_uses=1, valid_days=1
    )
    assert isinstance(
        await merchant.error(catalog.invitations.CreateInvitation, create), PermissionDeniedError
    )
    error = await catalog.consumer().error(catalog.invitations.AcceptInvitation, _accept(made.token))
    assert error.code == "invitation_not_found"
