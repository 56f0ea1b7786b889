"""How long keys-svc takes to list, search and get, among very many keys.

.venv/bin/python -m ams_local exec --tests -- .venv/bin/python -m loadtests.bench.keys [--consumers N]

Fills a database of its own with --consumers consumers (100,000) of --keys keys each (10), and asks what pages
and gateways ask, through gRPC, for consumers from all over. Exits with 1 when a p95 is above 50 ms. Needs
DATABASE_URL (an administrator's).
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import grpc
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import (
    grants_service_pb2,
    grants_service_pb2_grpc,
    keys_service_pb2,
    keys_service_pb2_grpc,
    service_consumers_service_pb2,
    service_consumers_service_pb2_grpc,
)
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.client import ServiceToken, invoke
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.migrations import migrate
from ams_common.outbox import Deliveries
from ams_common.pseudonyms import Pseudonyms
from ams_common.server import build_server
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from keys_svc.catalog import Catalog
from keys_svc.key_activity import KeyActivities, KeyCosts
from keys_svc.rpc import KeysService, Servicers
from keys_svc.rpc.exposures import ExposuresService
from keys_svc.rpc.grants import GrantsService
from keys_svc.rpc.key_settings import KeySettingsService
from keys_svc.rpc.service_consumers import ServiceConsumersService
from keys_svc.secret_scanning import ScanningKeys
from keys_svc.store import Store
from keys_svc.testing import Sample, fill, samples

from loadtests.support.databases import fresh_database
from loadtests.support.questions import BOUND_MS, measure, tell

Ask = Callable[[Sample], Awaitable[Any]]


@asynccontextmanager
async def serving(url: str, issuer: TestIssuer, pseudonyms: Pseudonyms) -> AsyncIterator[grpc.aio.Channel]:
    """keys-svc's own servicers, with everybody whom it would ask away."""
    away = grpc.aio.insecure_channel("127.0.0.1:1")
    token = ServiceToken(away, "keys-svc", "")
    async with Database.open(url, Store) as database:
        catalog = Catalog(catalog_rpc.CatalogServiceStub(away), token)
        changing: Any = {"database": database, "deliveries": Deliveries(database)}
        servicers = Servicers(
            keys=KeysService(**changing, catalog=catalog),
            key_settings=KeySettingsService(**changing, activities=KeyActivities(away, token)),
            grants=GrantsService(**changing),
            service_consumers=ServiceConsumersService(**changing, pseudonyms=pseudonyms),
            exposures=ExposuresService(
                database=database, scanning_keys=ScanningKeys(None), costs=KeyCosts(away, token)
            ),
        )
        server = build_server(TokenVerifier(issuer), servicers.served())
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        await server.stop(None)
    await away.close()


def questions(channel: grpc.aio.Channel, issuer: TestIssuer, pseudonyms: Pseudonyms) -> dict[str, Ask]:
    """What is asked, for whoever the sample is of."""
    keys = keys_service_pb2_grpc.KeysServiceStub(channel)
    grants = grants_service_pb2_grpc.GrantsServiceStub(channel)
    consumers = service_consumers_service_pb2_grpc.ServiceConsumersServiceStub(channel)
    admin, gateway = issuer.user_token(uuid7(), ADMIN), issuer.service_token("gateway")
    pb, grants_pb, consumers_pb = keys_service_pb2, grants_service_pb2, service_consumers_service_pb2

    def by_consumer(method: Any, make: Callable[[Sample], Any]) -> Ask:
        return lambda each: invoke(method, make(each), token=issuer.user_token(each.consumer_id, CONSUMER))

    def by_merchant(method: Any, make: Callable[[Sample], Any]) -> Ask:
        return lambda each: invoke(method, make(each), token=issuer.user_token(each.merchant_id, MERCHANT))

    def by(token: str, method: Any, make: Callable[[Sample], Any]) -> Ask:
        return lambda each: invoke(method, make(each), token=token)

    def name_of(each: Sample) -> str:
        return pseudonyms.of_consumer(each.merchant_id, UUID(str(each.consumer_id)))

    return {
        "list keys": by_consumer(keys.ListKeys, lambda _: pb.ListKeysRequest(page_size=50)),
        "search keys": by_consumer(keys.ListKeys, lambda _: pb.ListKeysRequest(query="service 7")),
        "sort keys by name": by_consumer(keys.ListKeys, lambda _: pb.ListKeysRequest(order_by="name")),
        "get key": by_consumer(keys.GetKey, lambda each: pb.GetKeyRequest(key_id=str(each.key_id))),
        "list own requests": by_consumer(
            keys.ListConsumerAccessRequests, lambda _: pb.ListConsumerAccessRequestsRequest()
        ),
        "list own grants": by_consumer(
            grants.ListConsumerGrants, lambda _: grants_pb.ListConsumerGrantsRequest()
        ),
        "snapshot": by(
            gateway, keys.GetKeySnapshot, lambda each: pb.GetKeySnapshotRequest(key_hash=each.key_hash)
        ),
        "admin: pending requests": by(
            admin, keys.ListAccessRequests, lambda _: pb.ListAccessRequestsRequest(status=pb.PENDING)
        ),
        "admin: consumer's keys": by(
            admin,
            grants.ListKeysOfConsumer,
            lambda each: grants_pb.ListKeysOfConsumerRequest(consumer_id=str(each.consumer_id)),
        ),
        "merchant: consumers": by_merchant(
            consumers.ListServiceConsumers,
            lambda each: consumers_pb.ListServiceConsumersRequest(service_id=str(each.service_id)),
        ),
        "merchant: a consumer": by_merchant(
            consumers.GetServiceConsumer,
            lambda each: consumers_pb.GetServiceConsumerRequest(consumer=name_of(each)),
        ),
    }


async def run(options: argparse.Namespace) -> bool:
    """Whether all were quick enough."""
    issuer, pseudonyms = TestIssuer(), Pseudonyms("bench")
    async with fresh_database(os.environ["DATABASE_URL"], "keys") as url:
        await migrate(url, "keys_svc")
        connection = await asyncpg.connect(url)
        # What is made up agrees with itself: each foreign key is looked at once more only in production.
        await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        begun_s = time.monotonic()
        await fill(connection, consumers=options.consumers, keys_each=options.keys, services=options.services)
        asked = await samples(connection, options.asked)
        await connection.close()
        total = options.consumers * options.keys
        print(f"{total:,} keys of {options.consumers:,} consumers in {time.monotonic() - begun_s:.0f} s")
        is_quick = True
        async with serving(url, issuer, pseudonyms) as channel:
            for name, ask in questions(channel, issuer, pseudonyms).items():
                await ask(asked[0])
                is_quick &= tell(name, await measure(ask, asked))
    return is_quick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--consumers", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=10, help="of each consumer")
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=200, help="consumers that each question is asked for")
    is_quick = asyncio.run(run(parser.parse_args()))
    print("quick enough" if is_quick else f"a p95 is above {BOUND_MS:.0f} ms")
    sys.exit(0 if is_quick else 1)


if __name__ == "__main__":
    main()
