"""usage-svc: counts what the gateways metered, tells billing, and answers reports."""

import sys
from contextlib import AsyncExitStack
from functools import partial

from ams.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from ams.usage.v1 import (
    alert_service_pb2,
    alert_service_pb2_grpc,
    key_activity_service_pb2,
    key_activity_service_pb2_grpc,
    report_service_pb2,
    report_service_pb2_grpc,
)
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.client import ServiceToken, jwks_of, open_channel
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.dead_letters_service import dead_letters_service
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.platform_settings import PlatformSettingsFollower
from ams_common.process import run_process
from ams_common.projects import ProjectFollower
from ams_common.pseudonyms import Pseudonyms
from ams_common.retention import purge_old_answers
from ams_common.revisions import Revisions, asking
from ams_common.sealing import Sealer
from ams_common.server import build_server, serve
from ams_common.token_ends import follow_token_ends
from ams_common.tokens import TokenVerifier

from usage_svc.alerting.delivery import WebhookDeliverer, open_session
from usage_svc.alerting.evaluating import AlertEvaluator
from usage_svc.alerting.spend import SpendClient
from usage_svc.event_handlers import topic_handlers
from usage_svc.file_store import FileStore
from usage_svc.gap_watch import watch_for_gaps
from usage_svc.identity_events import IDENTITY
from usage_svc.invariants import check
from usage_svc.partitions import keep_partitions_ready
from usage_svc.projects import apply_projects
from usage_svc.proofs.closing import keep_days_closed
from usage_svc.questions.answers import Questions
from usage_svc.reporting.facts import FactSources
from usage_svc.reporting.making import ReportMaker
from usage_svc.retention.keeping import Retention
from usage_svc.rpc.alerts import AlertService
from usage_svc.rpc.key_activity import KeyActivityService
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
        service = UsageService(
            database=database,
            pseudonyms=pseudonyms,
            archive=FileStore(settings.archive_url),
            questions=Questions(database=database, pseudonyms=pseudonyms),
        )
        files = FileStore(settings.reports_url)
        reports = ReportService(
            database=database, files=files, pseudonyms=pseudonyms, keep=settings.keep_reports
        )
        sealer = Sealer(settings.sealing_key)
        alerts = AlertService(
            database=database,
            pseudonyms=pseudonyms,
            sealer=sealer,
            allow_private_webhooks=settings.allow_private_webhooks,
        )
        # Apart: what is asked in the background doesn't keep a caller waiting.
        billing = await stack.enter_async_context(open_channel(settings.billing_address, is_apart=True))
        token = ServiceToken(identity, "usage-svc", settings.service_secret)
        maker = ReportMaker(
            database=database,
            files=files,
            pseudonyms=pseudonyms,
            sources=FactSources(
                catalog_channel=await stack.enter_async_context(
                    open_channel(settings.catalog_address, is_apart=True)
                ),
                keys_channel=await stack.enter_async_context(
                    open_channel(settings.keys_address, is_apart=True)
                ),
                billing_channel=billing,
                token=token,
            ),
            keep=settings.keep_reports,
        )
        evaluator = AlertEvaluator(database=database, spend=SpendClient(BillingServiceStub(billing), token))
        session = await stack.enter_async_context(open_session(allow_private=settings.allow_private_webhooks))
        deliverer = WebhookDeliverer(
            database=database, session=session, sealer=sealer, allow_private=settings.allow_private_webhooks
        )
        following = await stack.enter_async_context(open_channel(settings.identity_address, is_apart=True))
        revisions = Revisions(asking(following, "usage-svc", settings.service_secret))
        platform_settings = PlatformSettingsFollower(following, "usage-svc", settings.service_secret)
        retention = Retention(
            database=database,
            files=FileStore(settings.archive_url),
            keep_events_days=lambda: (
                platform_settings.current.usage_retention_days if platform_settings.is_known else None
            ),
            keep_minutes_days=settings.keep_minutes_days,
            keep_trees_days=settings.keep_trees_days,
        )
        token_ends = await stack.enter_async_context(
            follow_token_ends(settings, "usage-svc", settings.service_secret)
        )
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "usage-svc",
            [*topic_handlers(database), IDENTITY],
            settings.kafka_topic_prefix,
        )
        server = build_server(
            TokenVerifier(jwks_of(identity), token_ends.ended),
            [
                (
                    pb.DESCRIPTOR.services_by_name["UsageService"],
                    partial(rpc.add_UsageServiceServicer_to_server, service),
                ),
                (
                    report_service_pb2.DESCRIPTOR.services_by_name["ReportService"],
                    partial(report_service_pb2_grpc.add_ReportServiceServicer_to_server, reports),
                ),
                (
                    alert_service_pb2.DESCRIPTOR.services_by_name["AlertService"],
                    partial(alert_service_pb2_grpc.add_AlertServiceServicer_to_server, alerts),
                ),
                (
                    key_activity_service_pb2.DESCRIPTOR.services_by_name["KeyActivityService"],
                    partial(
                        key_activity_service_pb2_grpc.add_KeyActivityServiceServicer_to_server,
                        KeyActivityService(database=database),
                    ),
                ),
                dead_letters_service("usage", events.dead_letters),
            ],
        )
        follower = ProjectFollower(database, following, "usage-svc", settings.service_secret, apply_projects)
        background = [
            events.run(),
            events.dead_letters.keep_counted(),
            follower.run(revisions),
            token_ends.run(revisions),
            revisions.run(),
            OutboxRelay(settings.database_url, kafka).run(),
            keep_partitions_ready(database),
            watch_for_gaps(database),
            keep_days_closed(database, pseudonyms),
            maker.run(settings.database_url),
            maker.keep_purged(),
            evaluator.run(),
            evaluator.keep_purged(),
            deliverer.run(),
            platform_settings.run(revisions),
            retention.run(),
            purge_old_answers(database),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
