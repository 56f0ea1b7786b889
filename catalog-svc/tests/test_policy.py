"""Who may call which RPC."""

import grpc
from ams.catalog.v1 import (
    catalog_service_pb2,
    discovery_service_pb2,
    invitation_service_pb2,
    lifecycle_service_pb2,
    openapi_service_pb2,
    revision_service_pb2,
)
from ams_common.testing.policies import EVERYBODY, callers_let_in
from ams_common.testing.tokens import TestIssuer


async def test_every_rpc_lets_in_these_callers_and_no_others(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "CreateService": {"merchant"},
        "UpdateService": {"merchant"},
        "SubmitService": {"merchant"},
        "ApproveService": {"admin"},
        "RejectService": {"admin"},
        "GetService": {"admin", "merchant"},
        "ListServices": {"admin"},
        "BatchGetServices": {"admin"},
        "ListMerchantServices": {"merchant"},
        "ListMarketplaceServices": EVERYBODY,
        "GetMarketplaceService": EVERYBODY,
        "BatchGetMarketplaceServices": {"admin", "merchant", "consumer"},
        "ListCategories": EVERYBODY,
        "SetUpstreamCredential": {"merchant"},
        "RotateSigningKey": {"merchant"},
        "UseSigningKey": {"merchant"},
        "SchedulePrice": {"merchant"},
        "CancelPrice": {"merchant"},
        "ListPrices": {"admin", "merchant", "consumer"},
        "BatchGetServiceNames": {"admin", "merchant", "consumer", "usage-svc", "billing-svc"},
        "CheckServiceSnapshots": {"gateway"},
        "GetServiceSnapshot": {"gateway", "keys-svc", "registry-svc"},
    }


async def test_everybody_discovers(channel: grpc.aio.Channel, issuer: TestIssuer) -> None:
    descriptor = discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "GetMarketplaceFacets": EVERYBODY,
        "ListRelatedServices": EVERYBODY,
    }


async def test_revisions_are_made_by_merchants_and_decided_by_admins(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = revision_service_pb2.DESCRIPTOR.services_by_name["RevisionService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "GetRevision": {"admin", "merchant"},
        "ListServiceRevisions": {"admin", "merchant"},
        "ListPendingRevisions": {"admin"},
        "ApproveRevision": {"admin"},
        "RejectRevision": {"admin"},
        "WithdrawRevision": {"merchant"},
    }


async def test_merchants_withdraw_and_retire_and_admins_suspend(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = lifecycle_service_pb2.DESCRIPTOR.services_by_name["LifecycleService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "WithdrawService": {"merchant"},
        "SuspendService": {"admin"},
        "ReinstateService": {"admin"},
        "RetireService": {"merchant"},
    }


async def test_merchants_and_admins_invite_and_consumers_accept(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = invitation_service_pb2.DESCRIPTOR.services_by_name["InvitationService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "CreateInvitation": {"admin", "merchant"},
        "ListInvitations": {"admin", "merchant"},
        "RevokeInvitation": {"admin", "merchant"},
        "AcceptInvitation": {"consumer"},
    }


async def test_merchants_attach_documents_and_everybody_reads_the_marketplaces(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = openapi_service_pb2.DESCRIPTOR.services_by_name["OpenapiService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "SetOpenapiDocument": {"merchant"},
        "DeleteOpenapiDocument": {"merchant"},
        "GetOpenapiDocument": {"admin", "merchant"},
        "GetMarketplaceOpenapiDocument": EVERYBODY,
        "GetApiReference": EVERYBODY,
    }
