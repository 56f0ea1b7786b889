"""The catalog client against a running catalog-svc and identity-svc. That an open service is found is
shown by the journeys of tests/, where a merchant has one approved."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.client import ServiceToken, invoke, open_channel
from ams_common.database import Database
from ams_common.errors import NotFoundError, UnavailableError
from ams_common.ids import uuid7
from ams_common.outbox import Deliveries
from ams_common.testing.neighbours import schemas, serving
from ams_common.testing.tokens import TestIssuer
from keys_svc.catalog import Catalog, CatalogError
from keys_svc.rpc import KeysService
from keys_svc.store import Store

Addresses = tuple[str, str, str]


@pytest.fixture
async def addresses(
    admin_database_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Addresses]:
    """The addresses of identity-svc and catalog-svc, running, and the latter's database."""
    servers = {
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "KEYS_ADDRESS": "127.0.0.1:9",  # asked by catalog-svc only of who isn't invited
    }
    async with (
        schemas(admin_database_url, "identity", "catalog") as urls,
        serving("identity", urls["identity"], servers, tmp_path) as identity,
        serving("catalog", urls["catalog"], {**servers, "IDENTITY_ADDRESS": identity}, tmp_path) as catalog,
    ):
        yield identity, catalog, urls["catalog"]


async def test_keys_svc_asks_as_itself_and_learns_that_there_is_no_such_service(
    addresses: Addresses, database: Database[Store], serve_rpc: Any, issuer: TestIssuer
) -> None:
    async with open_channel(addresses[0]) as identity, open_channel(addresses[1]) as channel:
        token = ServiceToken(identity, "keys-svc", "development-secret")
        catalog = Catalog(catalog_rpc.CatalogServiceStub(channel), token)
        servicer = KeysService(database=database, deliveries=Deliveries(database), catalog=catalog)
        add = partial(rpc.add_KeysServiceServicer_to_server, servicer)
        keys = rpc.KeysServiceStub(await serve_rpc(pb.DESCRIPTOR.services_by_name["KeysService"], add))
        request = pb.RequestAccessRequest(service_id=str(uuid7()))
        with pytest.raises(NotFoundError) as refused:
            await invoke(keys.RequestAccess, request, token=issuer.user_token(uuid7(), CONSUMER))
        assert refused.value.code == "service_not_found"

        wrong = ServiceToken(identity, "keys-svc", "another-secret")
        with pytest.raises(CatalogError):
            await Catalog(catalog_rpc.CatalogServiceStub(channel), wrong).find_service(uuid7(), uuid7())


async def test_a_private_service_can_be_asked_for_only_by_who_is_invited(
    addresses: Addresses, database: Database[Store], serve_rpc: Any, issuer: TestIssuer
) -> None:
    service_id, invited = uuid7(), uuid7()
    await _publish_privately(addresses[2], service_id, invited)
    async with open_channel(addresses[0]) as identity, open_channel(addresses[1]) as channel:
        token = ServiceToken(identity, "keys-svc", "development-secret")
        catalog = Catalog(catalog_rpc.CatalogServiceStub(channel), token)
        servicer = KeysService(database=database, deliveries=Deliveries(database), catalog=catalog)
        add = partial(rpc.add_KeysServiceServicer_to_server, servicer)
        keys = rpc.KeysServiceStub(await serve_rpc(pb.DESCRIPTOR.services_by_name["KeysService"], add))
        request = pb.RequestAccessRequest(service_id=str(service_id))
        for consumer_id in (invited, uuid7()):
            await _register(database, consumer_id)
        asked = await invoke(keys.RequestAccess, request, token=issuer.user_token(invited, CONSUMER))
        assert asked.service_id == str(service_id)
        # keys-svc itself, which would know of access that others have, isn't there for catalog-svc.
        with pytest.raises(UnavailableError):
            await invoke(keys.RequestAccess, request, token=issuer.user_token(uuid7(), CONSUMER))


async def _register(database: Database[Store], consumer_id: UUID) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO consumers (consumer_id, standing) VALUES ($1, 'active')", consumer_id
        )


async def _publish_privately(catalog_url: str, service_id: UUID, invited: UUID) -> None:
    """What a merchant, an admin and who accepts an invitation would do."""
    price = (
        '{"currency": "USD", "components": [],'
        ' "charge_rule": {"is_client_error_free": false, "is_abandoned_free": false}}'
    )
    invitation_id = uuid7()
    connection = await asyncpg.connect(catalog_url)
    await connection.execute(
        f"""
        INSERT INTO merchants (merchant_id, standing) VALUES ('{service_id}', 'active');
        INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
            documentation_url, version, tags, rate_limit_per_minute, additional_info, created_at, updated_at,
            published_at, merchant_name, visibility)
        VALUES ('{service_id}', '{service_id}', 'private', 'Private', 'For some', 'api', 'active',
            'https://a.example', '', '1', '{{}}', 0, '', now(), now(), now(), 'Acme', 'private');
        INSERT INTO price_versions (price_version_id, service_id, price, starts_at, created_at)
        VALUES (gen_random_uuid(), '{service_id}', '{price}', now(), now());
        INSERT INTO service_invitations (invitation_id, service_id, token_sha256, note, max_uses, created_by,
            created_at, expires_at)
        VALUES ('{invitation_id}', '{service_id}', sha256('token'), 'Friends', 1, '{service_id}', now(),
            now() + interval '1 day');
        INSERT INTO service_viewers (invitation_id, user_id, accepted_at)
        VALUES ('{invitation_id}', '{invited}', now());
        """
    )
    await connection.close()
