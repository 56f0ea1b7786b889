"""catalog-svc, served in the process of a benchmark."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams_common.client import ServiceToken
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.outbox import Deliveries
from ams_common.server import build_server
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from catalog_svc.grants import Grants
from catalog_svc.serving import services_of
from catalog_svc.store import Store
from catalog_svc.testing import CONSUME_URL, SEALER


@asynccontextmanager
async def serving(url: str, issuer: TestIssuer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to catalog-svc's own servicers, on the schema at `url` and with keys-svc away."""
    away = grpc.aio.insecure_channel("127.0.0.1:1")
    grants = Grants(KeysServiceStub(away), ServiceToken(away, "catalog-svc", ""))
    async with Database.open(url, Store, plans_each_time=True) as database:
        services = services_of(
            database=database,
            clock=utc_now,
            sealer=SEALER,
            grants=grants,
            deliveries=Deliveries(database),
            allow_private_upstreams=False,
            consume_url=CONSUME_URL,
        )
        server = build_server(TokenVerifier(issuer), services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        await server.stop(None)
    await away.close()
