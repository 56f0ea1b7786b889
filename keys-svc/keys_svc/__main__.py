"""keys-svc: API keys, access requests and grants."""

from contextlib import AsyncExitStack
from functools import partial

from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common import topics
from ams_common.client import ServiceToken, jwks_of, open_channel
from ams_common.clock import utc_now
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay, RedisDestination
from ams_common.process import run_process
from ams_common.retention import purge_old_answers
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.standings import StandingFollower
from ams_common.token_ends import follow_token_ends
from ams_common.tokens import TokenVerifier
from redis.asyncio import Redis

from keys_svc.announcing import announce_prices
from keys_svc.catalog import Catalog
from keys_svc.event_handlers import apply_catalog_events, apply_identity_events, apply_standings
from keys_svc.rpc import KeysService
from keys_svc.settings import Settings
from keys_svc.store import Store


def main() -> None:
    run_process("keys-svc", partial(load, Settings, "KEYS"), run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "keys_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        redis = await stack.enter_async_context(Redis.from_url(settings.redis_url))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        catalog = await stack.enter_async_context(open_channel(settings.catalog_address))
        token = ServiceToken(identity, "keys-svc", settings.service_secret)
        servicer = KeysService(
            database=database, catalog=Catalog(catalog_rpc.CatalogServiceStub(catalog), token)
        )
        descriptor = pb.DESCRIPTOR.services_by_name["KeysService"]
        add_servicer = partial(rpc.add_KeysServiceServicer_to_server, servicer)
        token_ends = await stack.enter_async_context(
            follow_token_ends(settings, "keys-svc", settings.service_secret)
        )
        server = build_server(
            TokenVerifier(jwks_of(identity), token_ends.ended), [(descriptor, add_servicer)]
        )
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "keys-svc",
            [
                Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events),
                Subscription(topics.CATALOG_EVENTS, CatalogEvent, apply_catalog_events),
            ],
            settings.kafka_topic_prefix,
        )
        following = await stack.enter_async_context(open_channel(settings.identity_address, is_apart=True))
        follower = StandingFollower(
            database, following, "keys-svc", settings.service_secret, CONSUMER, apply_standings
        )
        background = [
            purge_old_answers(database),
            OutboxRelay(settings.database_url, kafka).run(),
            OutboxRelay(settings.database_url, RedisDestination(redis)).run(),
            events.run(),
            token_ends.run(),
            follower.run(),
            announce_prices(database, utc_now),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
