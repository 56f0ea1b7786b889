from collections.abc import Mapping

import grpc
from ams.keys.v1 import (
    exposures_service_pb2,
    grants_service_pb2,
    key_settings_service_pb2,
    keys_service_pb2,
    service_consumers_service_pb2,
)
from ams_common.testing.policies import EVERYBODY, callers_let_in
from ams_common.testing.tokens import TestIssuer

ADMIN, MERCHANT, CONSUMER = {"admin"}, {"merchant"}, {"consumer"}

CALLERS: Mapping[str, Mapping[str, set[str] | frozenset[str]]] = {
    "KeysService": {
        "RequestAccess": CONSUMER,
        "ListAccessRequests": ADMIN,
        "ListConsumerAccessRequests": CONSUMER,
        "ApproveAccess": ADMIN,
        "DenyAccess": ADMIN,
        "CreateKey": CONSUMER,
        "GetKey": CONSUMER,
        "ListKeys": CONSUMER,
        "BatchGetKeyNames": {"usage-svc"},
        "RevokeKey": CONSUMER,
        "SetKeySpendCap": CONSUMER,
        "GetProjectSpendCap": CONSUMER,
        "SetProjectSpendCap": CONSUMER,
        "GetSpendCap": CONSUMER,
        "SetSpendCap": CONSUMER,
        "CheckKeySnapshots": {"gateway"},
        "GetKeySnapshot": {"gateway", "registry-svc"},
        "ListGrantedServices": {"registry-svc", "catalog-svc"},
    },
    "KeySettingsService": {
        "UpdateKey": CONSUMER,
        "SetKeyServices": CONSUMER,
        "SetAllowedNetworks": CONSUMER,
        "SetAllowedCalls": CONSUMER,
        "DisableKey": CONSUMER,
        "EnableKey": CONSUMER,
        "RotateKey": CONSUMER,
        "EndPreviousSecret": CONSUMER,
        "BatchGetKeyActivity": CONSUMER | ADMIN,
    },
    "GrantsService": {
        "WithdrawAccessRequest": CONSUMER,
        "ListConsumerGrants": CONSUMER,
        "EndConsumerGrant": CONSUMER,
        "ListGrants": ADMIN,
        "EndGrant": ADMIN,
        "ListKeysOfConsumer": ADMIN,
        "GetAccessPolicy": ADMIN | MERCHANT,
        "SetAccessPolicy": ADMIN,
    },
    "ServiceConsumersService": {
        "ListMerchantAccessRequests": MERCHANT,
        "ApproveMerchantAccess": MERCHANT,
        "DenyMerchantAccess": MERCHANT,
        "ListServiceConsumers": MERCHANT,
        "GetServiceConsumer": MERCHANT,
        "BlockServiceConsumer": MERCHANT,
        "UnblockServiceConsumer": MERCHANT,
        "SetServiceConsumerLimits": MERCHANT,
        "EndServiceConsumerAccess": MERCHANT,
        "RevokeServiceKey": MERCHANT,
    },
    "ExposuresService": {
        # Whoever has signed the report is asked for what it says, not for a token.
        "ReportFoundKeys": EVERYBODY,
        "HandInKey": EVERYBODY,
        "ListExposures": CONSUMER,
        "GetExposureChoice": CONSUMER,
        "SetExposureChoice": CONSUMER,
    },
}
_CONTRACTS = (
    keys_service_pb2,
    key_settings_service_pb2,
    grants_service_pb2,
    service_consumers_service_pb2,
    exposures_service_pb2,
)


async def test_each_rpc_lets_in_exactly_its_callers(channel: grpc.aio.Channel, issuer: TestIssuer) -> None:
    let_in = {
        name: await callers_let_in(channel, service, issuer)
        for contract in _CONTRACTS
        for name, service in contract.DESCRIPTOR.services_by_name.items()
    }
    assert let_in == CALLERS
