"""usage-svc: counts what the gateways metered, tells billing, and answers reports."""

import sys
from contextlib import AsyncExitStack
from functools import partial

from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.client import jwks_of, open_channel
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.dead_letters import DeadLetters
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.pseudonyms import Pseudonyms
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.tokens import TokenVerifier

from usage_svc.event_handlers import topic_handlers
from usage_svc.gap_watch import watch_for_gaps
from usage_svc.invariants import check
from usage_svc.partitions import keep_partitions_ready
from usage_svc.questions.answers import Questions
from usage_svc.rpc.service import UsageService
from usage_svc.settings import Settings
from usage_svc.store import Store


def main() -> None:
    """`usage-svc` serves; `usage-svc check` looks whether all invariants hold."""
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    run_process("usage-svc", partial(load, Settings, "USAGE"), run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "usage_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        descriptor = pb.DESCRIPTOR.services_by_name["UsageService"]
        handlers = topic_handlers(database)
        service = UsageService(
            questions=Questions(database=database, pseudonyms=Pseudonyms(settings.pseudonym_key)),
            dead_letters=DeadLetters(database, handlers, settings.kafka_topic_prefix),
        )
        add_servicer = partial(rpc.add_UsageServiceServicer_to_server, service)
        server = build_server(TokenVerifier(jwks_of(identity)), [(descriptor, add_servicer)])
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "usage-svc",
            handlers,
            settings.kafka_topic_prefix,
        )
        background = [
            events.run(),
            OutboxRelay(settings.database_url, kafka).run(),
            keep_partitions_ready(database),
            watch_for_gaps(database),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
