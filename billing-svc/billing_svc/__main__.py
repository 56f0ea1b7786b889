"""billing-svc: counts what is billed, and makes invoices and revenue of it."""

from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams_common.client import jwks_of, open_channel
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.retention import purge_old_answers
from ams_common.server import build_server, serve
from ams_common.tokens import TokenVerifier

from billing_svc.commission import FIRST_MONTH, format_rate
from billing_svc.event_handlers import SUBSCRIPTIONS
from ams_common.pseudonyms import Pseudonyms
from billing_svc.retention import purge_old_deltas
from billing_svc.rpc import BillingService
from billing_svc.settings import Settings, load_settings
from billing_svc.store import Store


def main() -> None:
    run_process("billing-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "billing_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        await ensure_commission_rate(database, settings.first_commission_rate)
        servicer = BillingService(database=database, pseudonyms=Pseudonyms(settings.pseudonym_key))
        descriptor = pb.DESCRIPTOR.services_by_name["BillingService"]
        add_servicer = partial(rpc.add_BillingServiceServicer_to_server, servicer)
        server = build_server(TokenVerifier(jwks_of(identity)), [(descriptor, add_servicer)])
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "billing-svc",
            SUBSCRIPTIONS,
            settings.kafka_topic_prefix,
        )
        background = [
            OutboxRelay(settings.database_url, kafka).run(),
            events.run(),
            purge_old_answers(database),
            purge_old_deltas(database),
        ]
        await serve(server, settings.listen, background)


async def ensure_commission_rate(database: Database[Store], rate: Decimal) -> None:
    """At the first start of a deployment its commission begins; later starts change nothing."""
    async with database.change_by_system("commission_rate.create", audited=False) as change:
        added = await change.store.add_first_commission_rate(rate=rate, starts_in=FIRST_MONTH)
        if added is not None:
            change.audit("commission_rate", added.starts_in, rate=format_rate(added.rate))


if __name__ == "__main__":
    main()
