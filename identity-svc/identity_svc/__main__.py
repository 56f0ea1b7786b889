"""identity-svc: users, roles, sign-in, invites, standing, the audit log."""

from functools import partial

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.errors import SettingsError
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.queries import Queries
from ams_common.retention import purge_old_answers
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.tokens import TokenVerifier

from identity_svc.accounts import appoint_admins
from identity_svc.consumers import audit_subscription
from identity_svc.handlers import Parts
from identity_svc.issuance import SessionIssuer
from identity_svc.keyring import Keyring
from identity_svc.mailer import Mailer, SmtpServer
from identity_svc.mails import Composer, Outgoing
from identity_svc.peers import ServiceSecrets
from identity_svc.providers import open_providers
from identity_svc.service import IdentityServicer
from identity_svc.settings import Settings
from identity_svc.store import Store
from identity_svc.system_store import SystemStore
from identity_svc.upkeep import Upkeep
from identity_svc.vault import Vault, VaultError


async def run(settings: Settings) -> None:
    """Serve until told to stop. Raises SettingsError when the encryption key isn't the database's."""
    await migrate(settings.database_url, "identity_svc")
    queries = Queries.load("identity_svc")
    store, system_store = Store(queries), SystemStore(queries)
    vault = Vault(settings.encryption_key)
    async with (
        Database.open(settings.database_url) as database,
        open_providers(settings.issuers(), settings.public_url) as providers,
    ):
        keyring = Keyring(database, system_store, vault, utc_now)
        try:
            await keyring.refresh()
        except VaultError as error:
            problem = f"IDENTITY_ENCRYPTION_KEY doesn't fit this database: {error}"
            raise SettingsError([problem]) from None
        await appoint_admins(database, store, settings.admin_emails, utc_now)
        servicer = IdentityServicer(
            Parts(
                database=database,
                store=store,
                system_store=system_store,
                vault=vault,
                keyring=keyring,
                outgoing=Outgoing(system_store, vault, settings.public_url),
                issuer=SessionIssuer(store, keyring, settings.session_lives()),
                service_secrets=ServiceSecrets(settings.secrets_by_service()),
                providers=providers,
                clock=utc_now,
            )
        )
        add_servicer = partial(rpc.add_IdentityServiceServicer_to_server, servicer)
        descriptor = pb.DESCRIPTOR.services_by_name["IdentityService"]
        server = build_server(TokenVerifier(keyring), [(descriptor, add_servicer)])
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        await serve(
            server,
            settings.listen,
            background=[
                purge_old_answers(database),
                keyring.run(),
                OutboxRelay(settings.database_url, kafka).run(),
                _audit_consumer(settings, database, system_store).run(),
                _mailer(settings, database, system_store, vault).run(),
                Upkeep(database, system_store, utc_now).run(),
            ],
        )


def _audit_consumer(settings: Settings, database: Database, store: SystemStore) -> EventConsumer:
    return EventConsumer(
        database,
        settings.kafka_bootstrap_servers,
        "identity-svc",
        [audit_subscription(store)],
        settings.kafka_topic_prefix,
    )


def _mailer(settings: Settings, database: Database, store: SystemStore, vault: Vault) -> Mailer:
    server = SmtpServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_username,
        settings.smtp_password,
        settings.smtp_tls,
    )
    composer = Composer(settings.mail_from)
    sender = settings.mail_from
    return Mailer(settings.database_url, database, store, vault, composer, server, sender, utc_now)


def main() -> None:
    """The console script."""
    run_process("identity-svc", partial(load, Settings, "IDENTITY"), run)


if __name__ == "__main__":
    main()
