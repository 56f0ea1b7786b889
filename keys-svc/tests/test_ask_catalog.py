"""The catalog client against a running catalog-svc and identity-svc. That an open service is found is
shown by the journeys of tests/, where a merchant has one approved."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.client import ServiceToken, invoke, open_channel
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.ids import uuid7
from ams_common.ports import free_port
from ams_common.provision import provision
from ams_common.testing.eventually import eventually
from ams_common.testing.tokens import TestIssuer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from keys_svc.catalog import Catalog, CatalogError
from keys_svc.rpc import KeysService
from keys_svc.store import Store

Addresses = tuple[str, str]


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
async def schemas(admin_database_url: str) -> AsyncIterator[dict[str, str]]:
    """URLs of identity-svc's and catalog-svc's schemas, in a database of this test's own."""
    suffix = secrets.token_hex(4)
    database, owners = f"others_{suffix}", {name: f"{name}_{suffix}" for name in ("identity", "catalog")}
    yield await provision(admin_database_url, database, owners=owners)
    connection = await asyncpg.connect(admin_database_url)
    for statement in (
        f"DROP DATABASE {database} WITH (FORCE)",
        *(f"DROP ROLE {role}" for role in owners.values()),
    ):
        await connection.execute(statement)
    await connection.close()


@pytest.fixture
async def addresses(
    schemas: dict[str, str], redis_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Addresses]:
    """The addresses of identity-svc and catalog-svc, running."""
    identity, catalog = free_address(), free_address()
    environment = {
        **os.environ,
        "AMS_ENVIRONMENT": "test",
        "IDENTITY_DATABASE_URL": schemas["identity"],
        "IDENTITY_LISTEN": identity,
        "IDENTITY_ADDRESS": identity,
        "CATALOG_DATABASE_URL": schemas["catalog"],
        "CATALOG_LISTEN": catalog,
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    async with AsyncExitStack() as stack:
        for module in ("identity_svc", "catalog_svc"):
            await stack.enter_async_context(_running(module, environment, tmp_path / module))
        for address in (identity, catalog):
            await eventually(partial(_serves, address), timeout_s=60)
        yield identity, catalog


@asynccontextmanager
async def _running(module: str, environment: dict[str, str], log_path: Path) -> AsyncIterator[None]:
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, env=environment, stderr=log
        )
        yield
        process.kill()
        await process.wait()


async def _serves(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_keys_svc_asks_as_itself_and_learns_that_there_is_no_such_service(
    addresses: Addresses, database: Database[Store], serve_rpc: Any, issuer: TestIssuer
) -> None:
    async with open_channel(addresses[0]) as identity, open_channel(addresses[1]) as channel:
        token = ServiceToken(identity, "keys-svc", "development-secret")
        catalog = Catalog(catalog_rpc.CatalogServiceStub(channel), token)
        add = partial(rpc.add_KeysServiceServicer_to_server, KeysService(database=database, catalog=catalog))
        keys = rpc.KeysServiceStub(await serve_rpc(pb.DESCRIPTOR.services_by_name["KeysService"], add))
        request = pb.RequestAccessRequest(service_id=str(uuid7()))
        with pytest.raises(NotFoundError) as refused:
            await invoke(keys.RequestAccess, request, token=issuer.user_token(uuid7(), CONSUMER))
        assert refused.value.code == "service_not_found"

        wrong = ServiceToken(identity, "keys-svc", "another-secret")
        with pytest.raises(CatalogError):
            await Catalog(catalog_rpc.CatalogServiceStub(channel), wrong).find_service(uuid7())
