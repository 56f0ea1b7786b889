import os
import subprocess
import sys
from typing import Any

import grpc
import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.database import Database
from ams_common.errors import AppError, InvalidArgumentError, UnauthenticatedError, from_rpc_error
from ams_common.ids import uuid7
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from google.protobuf.timestamp_pb2 import Timestamp
from usage_svc.store import Store

RPCS = [
    ("GetConsumerUsage", CONSUMER, pb.GetConsumerUsageRequest),
    ("GetMerchantUsage", MERCHANT, pb.GetMerchantUsageRequest),
    ("GetPlatformUsage", ADMIN, pb.GetPlatformUsageRequest),
]
HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"service_id": "x" * 1_000_000}, "invalid_argument"),
    ({"service_id": "' OR 1=1 --"}, "invalid_argument"),
    ({"service_id": "019AB000-0000-7000-8000-000000000001"}, "invalid_argument"),
    ({"granularity": 77}, "invalid_argument"),
    ({"group_by": -1}, "invalid_argument"),
    ({"start": Timestamp(seconds=2**62)}, "range_invalid"),
    ({"end": Timestamp(seconds=-(2**62))}, "range_invalid"),
    ({"start": Timestamp(nanos=-(2**31))}, "range_invalid"),
    ({"start": Timestamp(seconds=5), "end": Timestamp(seconds=5)}, "range_invalid"),
    ({"end": Timestamp(seconds=-62_135_596_800)}, "range_invalid"),
    ({"start": Timestamp(seconds=0), "granularity": pb.MINUTE}, "range_too_large"),
    ({"start": Timestamp(seconds=0)}, "range_too_large"),
]
MALFORMED_FILTERS: list[tuple[str, Any, Any]] = [
    ("GetConsumerUsage", CONSUMER, pb.GetConsumerUsageRequest(api_key_id="mine")),
    ("GetMerchantUsage", MERCHANT, pb.GetMerchantUsageRequest(key_prefix="x" * 33)),
    ("GetMerchantUsage", MERCHANT, pb.GetMerchantUsageRequest(key_prefix="a\0")),
    ("GetPlatformUsage", ADMIN, pb.GetPlatformUsageRequest(consumer_id="%")),
    ("GetPlatformUsage", ADMIN, pb.GetPlatformUsageRequest(merchant_id="%")),
]


async def test_each_rpc_lets_in_its_role_and_nobody_else(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["UsageService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "GetConsumerUsage": {"consumer"},
        "GetMerchantUsage": {"merchant"},
        "GetPlatformUsage": {"admin"},
    }


async def error_of(stub: rpc.UsageServiceStub, method: str, request: Any, token: str) -> AppError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await getattr(stub, method)(request, metadata=(("authorization", f"Bearer {token}"),), timeout=10)
    return from_rpc_error(raised.value)


@pytest.mark.parametrize(("method", "role", "request_type"), RPCS)
async def test_hostile_requests_are_invalid_never_a_fault(
    stub: rpc.UsageServiceStub, issuer: TestIssuer, method: str, role: Any, request_type: Any
) -> None:
    token = issuer.user_token(uuid7(), role)
    for fields, code in HOSTILE:
        error = await error_of(stub, method, request_type(**fields), token)
        assert isinstance(error, InvalidArgumentError), (fields, error)
        assert error.code == code, fields


async def test_malformed_filters_are_invalid(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> None:
    for method, role, request in MALFORMED_FILTERS:
        error = await error_of(stub, method, request, issuer.user_token(uuid7(), role))
        assert isinstance(error, InvalidArgumentError), (request, error)


async def test_a_token_that_is_none_is_refused(stub: rpc.UsageServiceStub) -> None:
    error = await error_of(stub, "GetConsumerUsage", pb.GetConsumerUsageRequest(), "not.a.token")
    assert isinstance(error, UnauthenticatedError)


async def test_every_named_query_is_accepted_and_declared_in_the_store(
    database: Database,
) -> None:
    async with database.connection() as connection:
        for name in Store.queries.names():
            await Store.queries.prepare(connection, name)
    assert set(Store.queries.names()) == Store.declared()


def test_the_process_names_every_setting_that_it_lacks() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "usage_svc"],
        env={"PATH": os.environ["PATH"], "AMS_ENVIRONMENT": "production"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    for variable in ("USAGE_DATABASE_URL", "USAGE_LISTEN", "IDENTITY_ADDRESS"):
        assert variable in ended.stderr
