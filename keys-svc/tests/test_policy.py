import grpc
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer


async def test_each_rpc_lets_in_exactly_its_callers(channel: grpc.aio.Channel, issuer: TestIssuer) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["KeysService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "RequestAccess": {"consumer"},
        "ListAccessRequests": {"admin"},
        "ListConsumerAccessRequests": {"consumer"},
        "ApproveAccess": {"admin"},
        "DenyAccess": {"admin"},
        "CreateKey": {"consumer"},
        "GetKey": {"consumer"},
        "ListKeys": {"consumer"},
        "BatchGetKeyNames": {"usage-svc"},
        "RevokeKey": {"consumer"},
        "SetKeySpendCap": {"consumer"},
        "GetSpendCap": {"consumer"},
        "SetSpendCap": {"consumer"},
        "CheckKeySnapshots": {"gateway"},
        "GetKeySnapshot": {"gateway", "registry-svc"},
        "ListGrantedServices": {"registry-svc"},
    }
