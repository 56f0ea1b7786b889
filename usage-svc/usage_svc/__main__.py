"""usage-svc: counts what the gateways metered, tells billing, and answers reports."""

from contextlib import AsyncExitStack
from functools import partial

from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UsageEvent
from ams_common import topics
from ams_common.client import jwks_of, open_channel
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.queries import Queries
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.tokens import TokenVerifier

from usage_svc.consumers import Ingest
from usage_svc.service import UsageService
from usage_svc.settings import Settings
from usage_svc.store import Store
from usage_svc.upkeep import PartitionUpkeep


def main() -> None:
    """The console script."""
    run_process("usage-svc", partial(load, Settings, "USAGE"), run)


async def run(settings: Settings) -> None:
    """Serve until told to stop."""
    await migrate(settings.database_url, "usage_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url))
        channel = await stack.enter_async_context(open_channel(settings.identity_address))
        store = Store(Queries.load("usage_svc"))
        servicer = UsageService(database, store)
        server = build_server(
            TokenVerifier(jwks_of(channel)),
            [
                (
                    pb.DESCRIPTOR.services_by_name["UsageService"],
                    partial(rpc.add_UsageServiceServicer_to_server, servicer),
                )
            ],
        )
        subscription = Subscription(topics.USAGE_EVENTS, UsageEvent, Ingest(store).handle)
        kafka = settings.kafka_bootstrap_servers
        prefix = settings.kafka_topic_prefix
        background = [
            EventConsumer(database, kafka, "usage-svc", [subscription], prefix).run(),
            OutboxRelay(settings.database_url, KafkaDestination(kafka, prefix)).run(),
            PartitionUpkeep(database, store).run(),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
