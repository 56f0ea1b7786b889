"""The catalog client against a running catalog-svc and identity-svc. That an open service is found is
shown by the journeys of tests/, where a merchant has one approved."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.client import ServiceToken, invoke, open_channel
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.ids import uuid7
from ams_common.testing.neighbours import schemas, serving
from ams_common.testing.tokens import TestIssuer
from keys_svc.catalog import Catalog, CatalogError
from keys_svc.rpc import KeysService
from keys_svc.store import Store

Addresses = tuple[str, str]


@pytest.fixture
async def addresses(
    admin_database_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Addresses]:
    """The addresses of identity-svc and catalog-svc, running."""
    servers = {
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    async with (
        schemas(admin_database_url, "identity", "catalog") as urls,
        serving("identity", urls["identity"], servers, tmp_path) as identity,
        serving("catalog", urls["catalog"], {**servers, "IDENTITY_ADDRESS": identity}, tmp_path) as catalog,
    ):
        yield identity, catalog


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
