"""identity-svc: users, roles, sign-in, invites, standing, the audit log."""

from functools import partial

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams.identity.v1 import project_service_pb2 as project_pb
from ams.identity.v1 import project_service_pb2_grpc as project_rpc
from ams.identity.v1.notifications_pb2 import Notification
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.errors import SettingsError
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.retention import purge_old_answers
from ams_common.sealing import SealingError
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.tokens import TokenVerifier

from identity_svc.accounts import appoint_admins
from identity_svc.event_handlers import NotificationHandler, store_audit_records
from identity_svc.keyring import Keyring
from identity_svc.mailer import Mailer, SmtpServer
from identity_svc.mails import Composer, MailQueue
from identity_svc.providers import open_providers
from identity_svc.retention import purge_old_rows
from identity_svc.rpc import IdentityService
from identity_svc.rpc.project_service import ProjectService
from identity_svc.sessions import SessionIssuer
from identity_svc.settings import Settings
from identity_svc.store import Store
from identity_svc.vault import Vault


def main() -> None:
    run_process("identity-svc", partial(load, Settings, "IDENTITY"), run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises SettingsError when the encryption key isn't the database's."""
    await migrate(settings.database_url, "identity_svc")
    vault = Vault(settings.encryption_key)
    async with (
        Database.open(settings.database_url, Store) as database,
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
        servicer = IdentityService(
            database=database,
            vault=vault,
            keyring=keyring,
            mail_queue=mail_queue,
            session_issuer=SessionIssuer(keyring, settings.session_lifetimes()),
            service_secrets=settings.secrets_by_service(),
            providers=providers,
            clock=utc_now,
        )
        descriptor = pb.DESCRIPTOR.services_by_name["IdentityService"]
        add_servicer = partial(rpc.add_IdentityServiceServicer_to_server, servicer)
        projects = ProjectService(database=database, mail_queue=mail_queue, clock=utc_now)
        services = [
            (descriptor, add_servicer),
            (
                project_pb.DESCRIPTOR.services_by_name["ProjectService"],
                partial(project_rpc.add_ProjectServiceServicer_to_server, projects),
            ),
        ]
        server = build_server(TokenVerifier(keyring), services)
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
            keyring.run(),
            OutboxRelay(settings.database_url, kafka).run(),
            events.run(),
            mailer.run(),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
