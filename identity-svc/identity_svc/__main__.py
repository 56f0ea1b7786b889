"""identity-svc: users, roles, sign-in, invites, standing, the audit log."""

from functools import partial

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams.identity.v1 import (
    second_factor_service_pb2,
    second_factor_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)
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
from ams_common.token_ends import TokenEndsFollower
from ams_common.tokens import TokenVerifier

from identity_svc.accounts import appoint_admins
from identity_svc.event_handlers import NotificationHandler, store_audit_records
from identity_svc.factor_checks import FactorChecks
from identity_svc.keyring import Keyring
from identity_svc.mailer import Mailer, SmtpServer
from identity_svc.mails import Composer, MailQueue
from identity_svc.passkeys import RelyingParty
from identity_svc.providers import open_providers
from identity_svc.retention import purge_old_rows
from identity_svc.rpc import IdentityService
from identity_svc.rpc.second_factor_service import SecondFactorService
from identity_svc.rpc.session_service import SessionService, list_token_ends
from identity_svc.rpc.token_service import TokenService
from identity_svc.sessions import SessionIssuer
from identity_svc.settings import Settings
from identity_svc.sign_in_limits import SignInLimits
from identity_svc.store import Store
from identity_svc.tries import TryCounts
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
        tries = TryCounts(database, utc_now)
        limits = SignInLimits(vault, settings.code_asks_per_hour, settings.code_mails_per_hour)
        factors = FactorChecks(vault, limits, RelyingParty(settings.public_url))
        session_issuer = SessionIssuer(
            keyring, settings.session_lifetimes(), settings.admins_need_second_factor
        )
        servicer = IdentityService(
            database=database,
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
        descriptor = pb.DESCRIPTOR.services_by_name["IdentityService"]
        add_servicer = partial(rpc.add_IdentityServiceServicer_to_server, servicer)
        tokens = TokenService(database=database, keyring=keyring, clock=utc_now)
        second_factors = SecondFactorService(
            database=database, checks=factors, session_issuer=session_issuer, clock=utc_now
        )
        sessions = SessionService(database=database, clock=utc_now)
        token_ends = TokenEndsFollower(
            partial(list_token_ends, database), settings.kafka_bootstrap_servers, settings.kafka_topic_prefix
        )
        await token_ends.begin()
        server = build_server(
            TokenVerifier(keyring, token_ends.ended),
            [
                (descriptor, add_servicer),
                (
                    token_service_pb2.DESCRIPTOR.services_by_name["TokenService"],
                    partial(token_service_pb2_grpc.add_TokenServiceServicer_to_server, tokens),
                ),
                (
                    second_factor_service_pb2.DESCRIPTOR.services_by_name["SecondFactorService"],
                    partial(
                        second_factor_service_pb2_grpc.add_SecondFactorServiceServicer_to_server,
                        second_factors,
                    ),
                ),
                (
                    session_service_pb2.DESCRIPTOR.services_by_name["SessionService"],
                    partial(session_service_pb2_grpc.add_SessionServiceServicer_to_server, sessions),
                ),
            ],
        )
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
            token_ends.run(),
            mailer.run(),
            tries.run(),
        ]
        await serve(server, settings.listen, background)


if __name__ == "__main__":
    main()
