"""keys-svc: API keys, access requests and grants."""

import argparse
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.policy.v1.policy_pb2 import CONSUMER
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
from ams_common.projects import ProjectFollower
from ams_common.pseudonyms import Pseudonyms
from ams_common.redis_client import RedisClient, opened
from ams_common.retention import purge_old_answers
from ams_common.revisions import Revisions, asking
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.standings import StandingFollower
from ams_common.token_ends import follow_token_ends
from ams_common.tokens import TokenVerifier

from keys_svc.announcing import announce_prices
from keys_svc.catalog import Catalog
from keys_svc.event_handlers import (
    apply_catalog_events,
    apply_identity_events,
    apply_projects,
    apply_standings,
)
from keys_svc.expiry_notices import tell_of_expiries
from keys_svc.exposure_notices import tell_of_exposures
from keys_svc.key_activity import KeyActivities, KeyCosts
from keys_svc.rebuilding import rebuild_snapshots
from keys_svc.rpc import KeysService, Servicers
from keys_svc.rpc.exposures import ExposuresService
from keys_svc.rpc.grants import GrantsService
from keys_svc.rpc.key_settings import KeySettingsService
from keys_svc.rpc.service_consumers import ServiceConsumersService
from keys_svc.secret_scanning import ScanningKeys, fetching
from keys_svc.settings import Settings
from keys_svc.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(prog="keys-svc")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("rebuild-snapshots", help="write all keys' snapshots to Redis again")
    arguments = parser.parse_args()
    load_settings = partial(load, Settings, "KEYS")
    if arguments.command == "rebuild-snapshots":
        run_command("keys-svc", load_settings, rebuild)
    else:
        run_process("keys-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "keys_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        redis = await stack.enter_async_context(_redis(settings))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        catalog = await stack.enter_async_context(open_channel(settings.catalog_address))
        token = ServiceToken(identity, "keys-svc", settings.service_secret)
        usage = await stack.enter_async_context(open_channel(settings.usage_address))
        billing = await stack.enter_async_context(open_channel(settings.billing_address))
        costs = KeyCosts(billing, token)
        following = await stack.enter_async_context(open_channel(settings.identity_address, is_apart=True))
        revisions = Revisions(asking(following, "keys-svc", settings.service_secret))
        platform_settings = PlatformSettingsFollower(following, "keys-svc", settings.service_secret)
        deliveries = Deliveries(database)
        servicers = Servicers(
            keys=KeysService(
                database=database,
                deliveries=deliveries,
                catalog=Catalog(catalog_rpc.CatalogServiceStub(catalog), token),
                max_active_keys=lambda: platform_settings.current.max_active_keys,
            ),
            key_settings=KeySettingsService(
                database=database, activities=KeyActivities(usage, token), deliveries=deliveries
            ),
            grants=GrantsService(database=database, deliveries=deliveries),
            service_consumers=ServiceConsumersService(
                database=database,
                pseudonyms=Pseudonyms(settings.pseudonym_key),
                deliveries=deliveries,
            ),
            exposures=ExposuresService(
                database=database,
                scanning_keys=ScanningKeys(fetching(settings.secret_scanning_keys_url)),
                costs=costs,
            ),
        )
        token_ends = await stack.enter_async_context(
            follow_token_ends(settings, "keys-svc", settings.service_secret)
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
        server = build_server(
            TokenVerifier(jwks_of(identity), token_ends.ended),
            [*servicers.served(), dead_letters_service("keys", events.dead_letters)],
        )
        follower = StandingFollower(
            database, following, "keys-svc", settings.service_secret, CONSUMER, apply_standings
        )
        projects_channel = await stack.enter_async_context(
            open_channel(settings.identity_address, is_apart=True)
        )
        projects = ProjectFollower(
            database, projects_channel, "keys-svc", settings.service_secret, apply_projects
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
            projects.run(revisions),
            announce_prices(database, utc_now),
            tell_of_exposures(database, costs, utc_now),
            tell_of_expiries(database, utc_now),
        ]
        await serve(server, settings.listen, background)


def _redis(settings: Settings) -> AbstractAsyncContextManager[RedisClient]:
    return opened(settings.redis_url, ca_file=settings.redis_ca_file, timeout_s=WRITE_TIMEOUT_S)


async def rebuild(settings: Settings) -> None:
    """Writes all snapshots, and says how many there were."""
    await migrate(settings.database_url, "keys_svc")
    async with (
        Database.open(settings.database_url, Store) as database,
        _redis(settings) as redis,
    ):
        count = await rebuild_snapshots(database, redis, utc_now)
    sys.stdout.write(f"{count} snapshots of keys were written\n")


if __name__ == "__main__":
    main()
