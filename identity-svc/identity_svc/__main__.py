"""identity-svc: users, roles, sign-in, invites, standing, the audit log, platform settings.

identity-svc                  serves
identity-svc verify-audit     says what of the audit log was changed, removed or put elsewhere
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1.notifications_pb2 import Notification
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.dead_letters_service import dead_letters_service
from ams_common.errors import SettingsError
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_command, run_process
from ams_common.retention import purge_old_answers
from ams_common.revisions import Revisions
from ams_common.sealing import SealingError
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.token_ends import TokenEndsFollower
from ams_common.tokens import TokenVerifier

from identity_svc.accounts import appoint_admins
from identity_svc.audit_chain import Checkpoint
from identity_svc.audit_log import keep_checkpoints_logged, verify
from identity_svc.event_handlers import NotificationHandler, store_audit_records
from identity_svc.factor_checks import FactorChecks
from identity_svc.keyring import Keyring
from identity_svc.mailer import Mailer, SmtpServer, keep_queue_measured
from identity_svc.mails import Composer, MailQueue
from identity_svc.passkeys import RelyingParty
from identity_svc.providers import open_providers
from identity_svc.retention import keep_audit_log_purged, purge_old_rows
from identity_svc.rpc import IdentityService, services_of
from identity_svc.rpc.accounts import find_revisions
from identity_svc.rpc.session_service import list_token_ends
from identity_svc.sessions import SessionIssuer
from identity_svc.settings import Settings
from identity_svc.sign_in_limits import SignInLimits
from identity_svc.standing_readers import StandingReaders
from identity_svc.store import Store
from identity_svc.tries import TryCounts
from identity_svc.vault import Vault


def main() -> None:
    parser = argparse.ArgumentParser(prog="identity-svc")
    commands = parser.add_subparsers(dest="command")
    verifying = commands.add_parser("verify-audit", help="look for what isn't as it was stored")
    verifying.add_argument(
        "--checkpoint",
        type=Checkpoint.parse,
        action="append",
        default=[],
        metavar="POSITION:HASH",
        help="one that was noted before, and must still hold; may be given many times",
    )
    arguments = parser.parse_args()
    load_settings = partial(load, Settings, "IDENTITY")
    if arguments.command == "verify-audit":
        run_command("identity-svc", load_settings, partial(verify_audit, arguments.checkpoint))
    else:
        run_process("identity-svc", load_settings, run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises SettingsError when the encryption key isn't the database's."""
    await migrate(settings.database_url, "identity_svc")
    vault = Vault(settings.encryption_key)
    async with (
        Database.open(settings.database_url, Store, plans_each_time=True) as database,
        open_providers(settings.issuers(), settings.public_url) as providers,
    ):
        keyring = Keyring(database, vault, utc_now)
        try:
            await keyring.refresh()
        except SealingError as error:
            problem = f"IDENTITY_ENCRYPTION_KEY doesn't fit this database: {error}"
            raise SettingsError([problem]) from None
        await appoint_admins(database, settings.admin_emails, utc_now)
        mail_queue = MailQueue(vault, settings.public_url)
        tries = TryCounts(database, utc_now)
        limits = SignInLimits(vault, settings.code_asks_per_hour, settings.code_mails_per_hour)
        factors = FactorChecks(vault, limits, RelyingParty(settings.public_url))
        session_issuer = SessionIssuer(
            keyring, settings.session_lifetimes(), settings.admins_need_second_factor
        )
        servicer = IdentityService(
            database=database,
            standing_readers=StandingReaders(database),
            vault=vault,
            keyring=keyring,
            mail_queue=mail_queue,
            session_issuer=session_issuer,
            service_secrets=settings.secrets_by_service(),
            providers=providers,
            limits=limits,
            factors=factors,
            tries=tries,
            clock=utc_now,
        )
        token_ends = TokenEndsFollower(
            partial(list_token_ends, database), settings.kafka_bootstrap_servers, settings.kafka_topic_prefix
        )
        await token_ends.begin()
        revisions = Revisions(partial(find_revisions, database))
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "identity-svc",
            [
                Subscription(topics.AUDIT_EVENTS, AuditRecord, store_audit_records),
                Subscription(topics.NOTIFICATIONS, Notification, NotificationHandler(mail_queue, utc_now)),
            ],
            settings.kafka_topic_prefix,
        )
        server = build_server(
            TokenVerifier(keyring, token_ends.ended),
            [*services_of(servicer), dead_letters_service("identity", events.dead_letters)],
        )
        smtp_server = SmtpServer(
            settings.smtp_host,
            settings.smtp_port,
            settings.smtp_username,
            settings.smtp_password,
            settings.smtp_tls,
        )
        composer = Composer(settings.mail_from)
        mailer = Mailer(settings.database_url, database, vault, composer, smtp_server, utc_now)
        background = [
            purge_old_answers(database),
            purge_old_rows(database, utc_now),
            keep_audit_log_purged(database, utc_now),
            keep_checkpoints_logged(database),
            keyring.run(),
            OutboxRelay(settings.database_url, kafka).run(),
            events.run(),
            events.dead_letters.keep_counted(),
            token_ends.run(revisions),
            revisions.run(),
            mailer.run(),
            keep_queue_measured(database, utc_now),
            tries.run(),
        ]
        await serve(server, settings.listen, background)


async def verify_audit(noted: Sequence[Checkpoint], settings: Settings) -> None:
    """Prints what is wrong with the audit log, and ends the process with 1 if anything is; else the newest
    record's checkpoint, to be noted somewhere else."""
    async with Database.open(settings.database_url, Store) as database:
        verified = await verify(database, noted)
    if verified.problems:
        sys.stdout.writelines(f"{problem}\n" for problem in verified.problems)
        sys.exit(1)
    sys.stdout.write(f"{verified.count} records are as they were stored; checkpoint {verified.head}\n")


if __name__ == "__main__":
    main()
