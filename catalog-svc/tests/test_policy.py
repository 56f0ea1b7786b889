"""Who may call which RPC."""

import grpc
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.testing.policies import EVERYBODY, callers_let_in
from ams_common.testing.tokens import TestIssuer


async def test_every_rpc_lets_in_these_callers_and_no_others(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["CatalogService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "CreateService": {"merchant"},
        "UpdateService": {"merchant"},
        "SubmitService": {"merchant"},
        "ApproveService": {"admin"},
        "RejectService": {"admin"},
        "GetService": {"admin", "merchant"},
        "ListServices": {"admin"},
        "ListMerchantServices": {"merchant"},
        "ListMarketplaceServices": EVERYBODY,
        "GetMarketplaceService": EVERYBODY,
        "SetUpstreamCredential": {"merchant"},
        "RotateSigningKey": {"merchant"},
        "SchedulePrice": {"merchant"},
        "CancelPrice": {"merchant"},
        "ListPrices": {"admin", "merchant", "consumer"},
        "BatchGetServiceNames": {"admin", "merchant", "consumer", "usage-svc", "billing-svc"},
        "CheckServiceSnapshots": {"gateway"},
        "GetServiceSnapshot": {"gateway", "keys-svc", "registry-svc"},
    }
