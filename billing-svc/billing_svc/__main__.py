"""billing-svc: `billing-svc`, or `python -m billing_svc`."""

from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams_common.client import jwks_of, open_channel
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.queries import Queries
from ams_common.retention import purge_old_answers
from ams_common.server import build_server, serve
from ams_common.tokens import TokenVerifier

from billing_svc.commission import FIRST_MONTH, format_rate
from billing_svc.consumers import build_consumer
from billing_svc.pseudonyms import Pseudonyms
from billing_svc.service import BillingService
from billing_svc.settings import Settings, load_settings
from billing_svc.store import Store
from billing_svc.upkeep import forget_old_deltas


def main() -> None:
    """The console script."""
    run_process("billing-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Wire the service and serve."""
    await migrate(settings.database_url, "billing_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        store = Store(Queries.load("billing_svc"))
        await ensure_commission_rate(database, store, settings.first_commission_rate)
        servicer = BillingService(database, store, Pseudonyms(settings.pseudonym_key))
        server = build_server(
            TokenVerifier(jwks_of(identity)),
            [
                (
                    pb.DESCRIPTOR.services_by_name["BillingService"],
                    partial(rpc.add_BillingServiceServicer_to_server, servicer),
                )
            ],
        )
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        consumer = build_consumer(
            database, store, settings.kafka_bootstrap_servers, settings.kafka_topic_prefix
        )
        await serve(
            server,
            settings.listen,
            background=[
                OutboxRelay(settings.database_url, kafka).run(),
                consumer.run(),
                purge_old_answers(database),
                forget_old_deltas(database, store),
            ],
        )


async def ensure_commission_rate(database: Database, store: Store, rate: Decimal) -> None:
    """At the first start of a deployment its commission begins; later starts change nothing."""
    async with database.change_by_system("commission_rate.create", audited=False) as change:
        added = await store.add_first_commission_rate(change.connection, rate, FIRST_MONTH)
        if added is not None:
            change.audit("commission_rate", added.starts_in, rate=format_rate(added.rate))


if __name__ == "__main__":
    main()
