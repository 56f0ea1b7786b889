"""usage-svc: counts what the gateways metered, tells billing, and answers reports."""

import sys
from contextlib import AsyncExitStack
from functools import partial

from ams.usage.v1 import report_service_pb2, report_service_pb2_grpc
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
from ams_common.retention import purge_old_answers
from ams_common.server import build_server, serve
from ams_common.tokens import TokenVerifier

from usage_svc.event_handlers import topic_handlers
from usage_svc.file_store import FileStore
from usage_svc.gap_watch import watch_for_gaps
from usage_svc.invariants import check
from usage_svc.partitions import keep_partitions_ready
from usage_svc.proofs.closing import keep_days_closed
from usage_svc.questions.answers import Questions
from usage_svc.reporting.making import ReportMaker
from usage_svc.reporting.merchants import MERCHANT_NAMES
from usage_svc.rpc.reports import ReportService
from usage_svc.rpc.service import UsageService
from usage_svc.settings import Settings, load_settings
from usage_svc.store import Store


def main() -> None:
    """`usage-svc` serves; `usage-svc check` looks whether all invariants hold."""
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    run_process("usage-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "usage_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        pseudonyms = Pseudonyms(settings.pseudonym_key)
        handlers = [*topic_handlers(database), MERCHANT_NAMES]
        service = UsageService(
            database=database,
            pseudonyms=pseudonyms,
            questions=Questions(database=database, pseudonyms=pseudonyms),
            dead_letters=DeadLetters(database, handlers, settings.kafka_topic_prefix),
        )
        files = FileStore(settings.reports_url)
        reports = ReportService(
            database=database, files=files, pseudonyms=pseudonyms, keep=settings.keep_reports
        )
        maker = ReportMaker(database=database, files=files, pseudonyms=pseudonyms, keep=settings.keep_reports)
        server = build_server(
            TokenVerifier(jwks_of(identity)),
            [
                (
                    pb.DESCRIPTOR.services_by_name["UsageService"],
                    partial(rpc.add_UsageServiceServicer_to_server, service),
                ),
                (
                    report_service_pb2.DESCRIPTOR.services_by_name["ReportService"],
                    partial(report_service_pb2_grpc.add_ReportServiceServicer_to_server, reports),
                ),
            ],
        )
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
            keep_days_closed(database, pseudonyms),
            maker.run(settings.database_url),
            maker.keep_purged(),
            purge_old_answers(database),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
