import grpc
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer


async def test_each_rpc_lets_in_exactly_its_callers(channel: grpc.aio.Channel, issuer: TestIssuer) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["RegistryService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "CreatePushToken": {"merchant"},
        "ListPushTokens": {"merchant"},
        "RevokePushToken": {"merchant"},
        "ListImages": {"merchant"},
        "GetImage": {"admin", "merchant"},
        "DeprecateImage": {"merchant"},
        "ListAllImages": {"admin"},
        "BatchGetNewestImages": {"admin"},
        "ListConsumerImages": {"consumer"},
    }
