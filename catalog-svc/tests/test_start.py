"""The process: its settings, and all of it wired together."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams_common.errors import SettingsError
from ams_common.ids import uuid7
from ams_common.ports import free_port
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS
from ams_common.settings import load
from ams_common.testing.eventually import eventually
from catalog_svc.settings import Settings
from catalog_svc.testing import Catalog, merchant_event
from cryptography.fernet import Fernet

PRODUCTION = {
    "AMS_ENVIRONMENT": "production",
    "CATALOG_DATABASE_URL": "postgresql://catalog@db/ams",
    "CATALOG_LISTEN": "127.0.0.1:7002",
    "CATALOG_SERVICE_SECRET": "a-secret-of-more-than-24-characters",
    "CATALOG_GATEWAY_URL": "https://gateway.ams.example",
    "IDENTITY_ADDRESS": "identity:7001",
    "KEYS_ADDRESS": "keys:7003",
    "REDIS_URL": "redis://redis",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "UPSTREAM_SEALING_KEY": Fernet.generate_key().decode(),
}


def test_private_upstreams_are_refused_unless_switched_on() -> None:
    assert load(Settings, "CATALOG", PRODUCTION).allow_private_upstreams is False
    development = {
        **PRODUCTION,
        "AMS_ENVIRONMENT": "development",
        "CATALOG_ALLOW_PRIVATE_UPSTREAMS": "true",
    }
    assert load(Settings, "CATALOG", development).allow_private_upstreams is True


def test_production_does_not_start_with_private_upstreams() -> None:
    with pytest.raises(SettingsError, match="CATALOG_ALLOW_PRIVATE_UPSTREAMS must be off"):
        load(Settings, "CATALOG", {**PRODUCTION, "CATALOG_ALLOW_PRIVATE_UPSTREAMS": "true"})


def test_production_does_not_start_where_consumers_would_call_without_tls() -> None:
    with pytest.raises(SettingsError, match="CATALOG_GATEWAY_URL must be an https"):
        load(Settings, "CATALOG", {**PRODUCTION, "CATALOG_GATEWAY_URL": "http://gateway.ams.example"})


@pytest.mark.parametrize("key", ["", "short", DEVELOPMENT_SEALING_KEYS[0], f"{'k' * 43}=,short"])
def test_production_does_not_start_with_sealing_keys_that_are_none_or_known_to_everybody(key: str) -> None:
    with pytest.raises(SettingsError, match="UPSTREAM_SEALING_KEY"):
        load(Settings, "CATALOG", {**PRODUCTION, "UPSTREAM_SEALING_KEY": key})


@asynccontextmanager
async def _process(
    environment: dict[str, str], stderr: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "catalog_svc", env={**os.environ, **environment}, stderr=stderr
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_process_without_settings_names_them_and_ends_with_2() -> None:
    async with _process({"CATALOG_LISTEN": "127.0.0.1:0"}, asyncio.subprocess.PIPE) as process:
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert b"CATALOG_DATABASE_URL must be set" in errors


async def test_the_process_serves_consumes_relays_and_stops(
    catalog: Catalog, database_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = {
        "CATALOG_DATABASE_URL": database_url,
        "CATALOG_LISTEN": address,
        "IDENTITY_ADDRESS": "127.0.0.1:9",  # not needed by what everybody may call
        "KEYS_ADDRESS": "127.0.0.1:9",
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    merchant = catalog.merchant()
    service = await catalog.publish(merchant)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    async with _process(environment) as process, grpc.aio.insecure_channel(address) as channel:
        await producer.start()
        event = merchant_event(merchant.user_id).SerializeToString()
        await producer.send_and_wait(f"{topic_prefix}identity.events", event, key=str(uuid7()).encode())
        await producer.stop()
        stub = rpc.CatalogServiceStub(channel)

        async def shown() -> bool:
            request = pb.ListMarketplaceServicesRequest()
            answer = await stub.ListMarketplaceServices(request, wait_for_ready=True, timeout=30)
            return [s.service_id for s in answer.services] == [service.service_id]

        async def relayed() -> bool:
            return not await catalog.rows("SELECT FROM outbox")

        await eventually(shown)
        await eventually(relayed)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
