"""catalog-svc: services, their prices and approval, and the marketplace."""

import argparse
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

from ams.identity.v1.events_pb2 import IdentityEvent
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common import topics
from ams_common.client import ServiceToken, jwks_of, open_channel
from ams_common.clock import utc_now
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.dead_letters_service import dead_letters_service
from ams_common.migrations import migrate
from ams_common.outbox import (
    WRITE_TIMEOUT_S,
    Deliveries,
    KafkaDestination,
    OutboxRelay,
    RedisDestination,
)
from ams_common.platform_settings import PlatformSettingsFollower
from ams_common.process import run_command, run_process
from ams_common.redis_client import RedisClient, opened
from ams_common.retention import purge_old_answers
from ams_common.revisions import Revisions, asking
from ams_common.sealing import Sealer
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.standings import StandingFollower
from ams_common.token_ends import follow_token_ends
from ams_common.tokens import TokenVerifier

from catalog_svc.event_handlers import apply_identity_events, apply_standings
from catalog_svc.grants import Grants
from catalog_svc.price_starts import follow_price_starts
from catalog_svc.rebuilding import rebuild_snapshots
from catalog_svc.serving import services_of
from catalog_svc.settings import Settings
from catalog_svc.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(prog="catalog-svc")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("rebuild-snapshots", help="write all services' snapshots to Redis again")
    arguments = parser.parse_args()
    load_settings = partial(load, Settings, "CATALOG")
    if arguments.command == "rebuild-snapshots":
        run_command("catalog-svc", load_settings, rebuild)
    else:
        run_process("catalog-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "catalog_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(settings.database_url, Store, plans_each_time=True)
        )
        redis = await stack.enter_async_context(_redis(settings))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        keys = await stack.enter_async_context(open_channel(settings.keys_address))
        token = ServiceToken(identity, "catalog-svc", settings.service_secret)
        following = await stack.enter_async_context(open_channel(settings.identity_address, is_apart=True))
        revisions = Revisions(asking(following, "catalog-svc", settings.service_secret))
        platform_settings = PlatformSettingsFollower(following, "catalog-svc", settings.service_secret)
        services = services_of(
            database=database,
            clock=utc_now,
            sealer=Sealer(settings.sealing_keys),
            grants=Grants(KeysServiceStub(keys), token),
            deliveries=Deliveries(database),
            allow_private_upstreams=settings.allow_private_upstreams,
            consume_url=settings.consume_url,
            max_services=lambda: platform_settings.current.max_services,
        )
        token_ends = await stack.enter_async_context(
            follow_token_ends(settings, "catalog-svc", settings.service_secret)
        )
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "catalog-svc",
            [Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)],
            settings.kafka_topic_prefix,
        )
        server = build_server(
            TokenVerifier(jwks_of(identity), token_ends.ended),
            [*services, dead_letters_service("catalog", events.dead_letters)],
        )
        follower = StandingFollower(
            database, following, "catalog-svc", settings.service_secret, MERCHANT, apply_standings
        )
        background = [
            purge_old_answers(database),
            OutboxRelay(settings.database_url, kafka).run(),
            OutboxRelay(settings.database_url, RedisDestination(redis)).run(),
            events.run(),
            events.dead_letters.keep_counted(),
            token_ends.run(revisions),
            revisions.run(),
            follower.run(revisions),
            platform_settings.run(revisions),
            follow_price_starts(database, utc_now),
        ]
        await serve(server, settings.listen, background)


def _redis(settings: Settings) -> AbstractAsyncContextManager[RedisClient]:
    return opened(settings.redis_url, ca_file=settings.redis_ca_file, timeout_s=WRITE_TIMEOUT_S)


async def rebuild(settings: Settings) -> None:
    """Writes all snapshots, and says of how many services."""
    await migrate(settings.database_url, "catalog_svc")
    async with (
        Database.open(settings.database_url, Store) as database,
        _redis(settings) as redis,
    ):
        count = await rebuild_snapshots(database, redis, utc_now)
    sys.stdout.write(f"snapshots of {count} services were written\n")


if __name__ == "__main__":
    main()
