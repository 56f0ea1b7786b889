"""catalog-svc: `catalog-svc`, or `python -m catalog_svc`."""

from contextlib import AsyncExitStack
from functools import partial

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams_common.client import jwks_of, open_channel
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay, RedisDestination
from ams_common.process import run_process
from ams_common.queries import Queries
from ams_common.retention import purge_old_answers
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.tokens import TokenVerifier
from redis.asyncio import Redis

from catalog_svc.consumers import MerchantProjection
from catalog_svc.service import CatalogServicer
from catalog_svc.settings import Settings
from catalog_svc.store import Store


def main() -> None:
    """The console script."""
    run_process("catalog-svc", partial(load, Settings, "CATALOG"), run)


async def run(settings: Settings) -> None:
    """Wire the service and serve."""
    url, servers, prefix = (
        settings.database_url,
        settings.kafka_bootstrap_servers,
        settings.kafka_topic_prefix,
    )
    await migrate(url, "catalog_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(url))
        redis = Redis.from_url(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        store = Store(Queries.load("catalog_svc"))
        servicer = CatalogServicer(database, store, allow_private_upstreams=settings.allow_private_upstreams)
        add_servicer = partial(rpc.add_CatalogServiceServicer_to_server, servicer)
        server = build_server(
            TokenVerifier(jwks_of(identity)),
            [(pb.DESCRIPTOR.services_by_name["CatalogService"], add_servicer)],
        )
        subscriptions = [MerchantProjection(store).subscription()]
        background = [
            purge_old_answers(database),
            OutboxRelay(url, KafkaDestination(servers, prefix)).run(),
            OutboxRelay(url, RedisDestination(redis)).run(),
            EventConsumer(database, servers, "catalog-svc", subscriptions, prefix).run(),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
