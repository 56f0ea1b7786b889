"""billing-svc: counts what is billed, and makes invoices and revenue of it.

billing-svc                      serves
billing-svc run-month 2026-11    bills a month now, as the calendar does once its grace time is over
billing-svc check                says what of the database breaks an invariant of money
"""

import argparse
import sys
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams.billing.v1 import key_cost_service_pb2 as key_cost_pb
from ams.billing.v1 import key_cost_service_pb2_grpc as key_cost_rpc
from ams.billing.v1 import project_spend_service_pb2 as project_spend_pb
from ams.billing.v1 import project_spend_service_pb2_grpc as project_spend_rpc
from ams.usage.v1.usage_service_pb2_grpc import UsageServiceStub
from ams_common.client import ServiceToken, jwks_of, open_channel
from ams_common.clock import utc_now
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.dead_letters_service import dead_letters_service
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_command, run_process
from ams_common.projects import ProjectFollower
from ams_common.pseudonyms import Pseudonyms
from ams_common.retention import purge_old_answers
from ams_common.revisions import Revisions, asking
from ams_common.server import build_server, serve
from ams_common.token_ends import follow_token_ends
from ams_common.tokens import TokenVerifier

from billing_svc.commission import FIRST_MONTH, format_rate
from billing_svc.drafting import keep_drafts
from billing_svc.event_handlers import SUBSCRIPTIONS, apply_projects
from billing_svc.invariants import check_invariants
from billing_svc.periods import last_day_of, parse_period
from billing_svc.proofs.digests import keep_digests
from billing_svc.rpc import BillingService
from billing_svc.rpc.key_costs import KeyCostService
from billing_svc.rpc.project_spend import ProjectSpendService
from billing_svc.running import InvoiceRunner, follow_calendar, keep_overdue, run_month
from billing_svc.runs import is_over
from billing_svc.settings import Settings, load_settings
from billing_svc.store import Store
from billing_svc.usage_client import UsageClient


def main() -> None:
    parser = argparse.ArgumentParser(prog="billing-svc")
    commands = parser.add_subparsers(dest="command")
    month = commands.add_parser("run-month", help="bill a month that is over")
    month.add_argument("month", type=_past_month, help="such as 2026-11")
    commands.add_parser("check", help="look for what breaks an invariant of money")
    arguments = parser.parse_args()
    if arguments.command == "run-month":
        run_command("billing-svc", load_settings, partial(bill_month, arguments.month))
    elif arguments.command == "check":
        run_command("billing-svc", load_settings, check)
    else:
        run_process("billing-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "billing_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        usage = await stack.enter_async_context(open_channel(settings.usage_address))
        token = ServiceToken(identity, "billing-svc", settings.service_secret)
        await ensure_commission_rate(database, settings.first_commission_rate)
        usage_client = UsageClient(UsageServiceStub(usage), token.get)
        servicer = BillingService(
            database=database,
            pseudonyms=Pseudonyms(settings.pseudonym_key),
            usage=usage_client,
        )
        descriptor = pb.DESCRIPTOR.services_by_name["BillingService"]
        add_servicer = partial(rpc.add_BillingServiceServicer_to_server, servicer)
        token_ends = await stack.enter_async_context(
            follow_token_ends(settings, "billing-svc", settings.service_secret)
        )
        add_key_costs = partial(
            key_cost_rpc.add_KeyCostServiceServicer_to_server, KeyCostService(database=database)
        )
        add_project_spend = partial(
            project_spend_rpc.add_ProjectSpendServiceServicer_to_server,
            ProjectSpendService(database=database),
        )
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "billing-svc",
            SUBSCRIPTIONS,
            settings.kafka_topic_prefix,
        )
        server = build_server(
            TokenVerifier(jwks_of(identity), token_ends.ended),
            [
                (descriptor, add_servicer),
                (key_cost_pb.DESCRIPTOR.services_by_name["KeyCostService"], add_key_costs),
                (project_spend_pb.DESCRIPTOR.services_by_name["ProjectSpendService"], add_project_spend),
                dead_letters_service("billing", events.dead_letters),
            ],
        )
        following = await stack.enter_async_context(open_channel(settings.identity_address, is_apart=True))
        revisions = Revisions(asking(following, "billing-svc", settings.service_secret))
        follower = ProjectFollower(
            database, following, "billing-svc", settings.service_secret, apply_projects
        )
        background = [
            follower.run(revisions),
            OutboxRelay(settings.database_url, kafka).run(),
            events.run(),
            events.dead_letters.keep_counted(),
            token_ends.run(revisions),
            revisions.run(),
            keep_drafts(database),
            InvoiceRunner(database, due_days=settings.due_days).run(),
            follow_calendar(database, settings.grace),
            keep_overdue(database),
            keep_digests(database, usage_client),
            purge_old_answers(database),
        ]
        await serve(server, settings.listen, background)


async def bill_month(month: str, settings: Settings) -> None:
    """Returns when the month's run is finished; ends the process with 1 when an invoice could not be made."""
    await migrate(settings.database_url, "billing_svc")
    async with Database.open(settings.database_url, Store) as database:
        await ensure_commission_rate(database, settings.first_commission_rate)
        runner = InvoiceRunner(database, due_days=settings.due_days)
        done = await run_month(runner, database, month, utc_now())
    sys.stdout.write(f"{month}: {done.invoices} invoices of {done.merchants} merchants\n")
    for problem in done.problems:
        sys.stdout.write(f"{problem.code} {problem.merchant_id} {problem.consumer_id} {problem.service_id}\n")
    if done.problems:
        sys.exit(1)


async def check(settings: Settings) -> None:
    """Prints what breaks an invariant, and ends the process with 1 if anything does."""
    async with Database.open(settings.database_url, Store) as database:
        broken = await check_invariants(database)
    sys.stdout.writelines(f"{line}\n" for line in broken)
    if broken:
        sys.exit(1)


async def ensure_commission_rate(database: Database[Store], rate: Decimal) -> None:
    """At the first start of a deployment its commission begins; later starts change nothing."""
    async with database.change_by_system("commission_rate.create", audited=False) as change:
        added = await change.store.add_first_commission_rate(rate=rate, starts_in=FIRST_MONTH)
        if added is not None:
            change.audit("commission_rate", added.starts_in, rate=format_rate(added.rate))


def _past_month(text: str) -> str:
    month = parse_period(text)
    if not is_over(last_day_of(month), utc_now()):
        raise argparse.ArgumentTypeError(f"{month} isn't over")
    return month


if __name__ == "__main__":
    main()
