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
from ams_common.testing.policies import EVERYBODY, callers_let_in
from ams_common.testing.tokens import TestIssuer
from google.protobuf.timestamp_pb2 import Timestamp
from usage_svc.questions.store import QuestionStore
from usage_svc.store import Store

RPCS = [
    ("GetConsumerUsage", CONSUMER, pb.GetUsageRequest),
    ("GetMerchantUsage", MERCHANT, pb.GetUsageRequest),
    ("GetPlatformUsage", ADMIN, pb.GetUsageRequest),
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
    ("GetConsumerUsage", CONSUMER, pb.GetUsageRequest(api_key_id="mine")),
    ("GetMerchantUsage", MERCHANT, pb.GetUsageRequest(key="x" * 65)),
    ("GetMerchantUsage", MERCHANT, pb.GetUsageRequest(consumer="a\0")),
    ("GetPlatformUsage", ADMIN, pb.GetUsageRequest(consumer="%")),
    ("GetPlatformUsage", ADMIN, pb.GetUsageRequest(merchant_id="%")),
    ("ListConsumerCalls", CONSUMER, pb.ListCallsRequest(request_id="a\0")),
    ("ListConsumerCalls", CONSUMER, pb.ListCallsRequest(request_id="x" * 129)),
    ("ListMerchantCalls", MERCHANT, pb.ListCallsRequest(day="2026-11-29", key="a\0")),
]


async def test_each_rpc_lets_in_its_role_and_nobody_else(
    channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["UsageService"]
    assert await callers_let_in(channel, descriptor, issuer) == {
        "GetConsumerUsage": {"consumer"},
        "GetMerchantUsage": {"merchant"},
        "GetPlatformUsage": {"admin"},
        "WatchConsumerUsage": {"consumer"},
        "WatchMerchantUsage": {"merchant"},
        "WatchPlatformUsage": {"admin"},
        "ListConsumerCalls": {"consumer"},
        "ListMerchantCalls": {"merchant"},
        "ListPlatformCalls": {"admin"},
        "ListDayTotals": {"billing-svc"},
        "ListConsumerDayTotals": {"billing-svc"},
        "ListDayRoots": set(EVERYBODY),
        "ListProvenEvents": {"billing-svc"},
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
    error = await error_of(stub, "GetConsumerUsage", pb.GetUsageRequest(), "not.a.token")
    assert isinstance(error, UnauthenticatedError)


async def test_every_named_query_is_accepted_and_declared_in_the_store(
    database: Database,
) -> None:
    for store in (Store, QuestionStore):
        async with database.connection() as connection, connection.transaction():
            # Makes the table that rollups are staged in, which each connection has of its own.
            await Store(connection).add_rollups({})
            for name in store.queries.names():
                await store.queries.prepare(connection, name)
        assert set(store.queries.names()) == store.declared()


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
