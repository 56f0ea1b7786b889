import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import jwt
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams.identity.v1 import project_service_pb2 as project_pb
from ams.identity.v1 import project_service_pb2_grpc as project_rpc
from ams.identity.v1.events_pb2 import IdentityEvent, ProjectChanged, ProjectRole
from ams.identity.v1.notifications_pb2 import Notification
from ams.identity.v1.profile_service_pb2_grpc import ProfileServiceStub
from ams.identity.v1.second_factor_service_pb2_grpc import SecondFactorServiceStub
from ams.identity.v1.session_service_pb2_grpc import SessionServiceStub
from ams.identity.v1.settings_service_pb2_grpc import SettingsServiceStub
from ams.identity.v1.team_service_pb2_grpc import TeamServiceStub
from ams.identity.v1.token_service_pb2_grpc import TokenServiceStub
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, Role
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import AppError, from_rpc_error
from ams_common.ids import uuid7
from ams_common.testing.plugin import Schema, Serve, with_database
from ams_common.testing.tokens import TestIssuer
from cryptography.fernet import Fernet
from identity_svc.audit_chain import BEGINNING, ChainedRecord, chained_hash
from identity_svc.factor_checks import FactorChecks
from identity_svc.keyring import Keyring
from identity_svc.mails import MailQueue
from identity_svc.passkeys import RelyingParty
from identity_svc.providers import Providers, open_providers
from identity_svc.rpc import IdentityService, services_of
from identity_svc.sessions import SessionIssuer
from identity_svc.sign_in_limits import SignInLimits
from identity_svc.standing_readers import StandingReaders
from identity_svc.store import Store
from identity_svc.tries import TryCounts
from identity_svc.vault import Vault

# Of a deployment that sets nothing (identity_svc.settings).
ASKS_PER_HOUR, MAILS_PER_HOUR = 150, 3600


class MovingClock:
    """The present moment, and as much later as the test wants."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self._ahead

    def advance(self, by: timedelta) -> None:
        self._ahead += by


@dataclass(frozen=True)
class Identity:
    """The running service, and what a test sees of it."""

    channel: grpc.aio.Channel
    stub: rpc.IdentityServiceStub
    team: TeamServiceStub
    settings: SettingsServiceStub
    profiles: ProfileServiceStub
    servicer: IdentityService
    clock: MovingClock
    admin: tuple[tuple[str, str]]  # the metadata of an admin's calls
    session_channel: grpc.aio.Channel
    sessions: SessionServiceStub
    issuer: TestIssuer
    token_channel: grpc.aio.Channel
    tokens: TokenServiceStub
    factor_channel: grpc.aio.Channel
    factors: SecondFactorServiceStub

    def acting(self, session: pb.Session, **claims: Any) -> tuple[tuple[str, str]]:
        """The metadata of calls with a session's access token, as the server of this test knows tokens."""
        said = jwt.decode(session.access_token, options={"verify_signature": False})
        given = {"credential": said["credential"], "generation": said["generation"], **claims}
        roles = [Role.Value(name) for name in said["roles"]]
        token = self.issuer.user_token(UUID(said["sub"]), *roles, **given)
        return (("authorization", f"Bearer {token}"),)

    async def error_of(self, call: Awaitable[Any]) -> AppError:
        """The error that a call ends with."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        raise AssertionError(f"no error: {answer}")

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        async with self.servicer.database.connection() as connection:
            rows: list[Any] = await connection.fetch(query, *arguments)
        return rows

    async def mail_to(self, email: str) -> dict[str, Any] | None:
        """The values of the newest queued mail to the address."""
        query = (
            "SELECT sealed_values FROM mails WHERE recipient = $1 AND status = 'queued'"
            " ORDER BY created_at DESC LIMIT 1"
        )
        rows = await self.fetch(query, email)
        if not rows:
            return None
        values: dict[str, Any] = json.loads(self.servicer.vault.unseal(rows[0]["sealed_values"]))
        return values

    async def code_to(self, email: str) -> str:
        mail = await self.mail_to(email)
        assert mail is not None, f"no mail to {email}"
        return str(mail["code"])

    async def verify(self, challenge: pb.Challenge, email: str) -> pb.Session:
        """Gives the mailed code back."""
        code = await self.code_to(email)
        request = pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=code)
        return await self.stub.VerifyChallenge(request)

    async def sign_in(self, email: str) -> pb.Session:
        return await self.verify(await self.stub.StartSignIn(pb.StartSignInRequest(email=email)), email)

    async def register_consumer(self, email: str, name: str = "Cora") -> pb.Session:
        request = pb.RegisterConsumerRequest(email=email, name=name)
        return await self.verify(await self.stub.RegisterConsumer(request), email)

    async def invite(self, email: str) -> str:
        """Invites an address; returns the code that it got."""
        await self.stub.CreateInvite(pb.CreateInviteRequest(email=email), metadata=self.admin)
        return await self.code_to(email)

    async def start_merchant(self, email: str, code: str, company_name: str = "Geo Ltd") -> pb.Challenge:
        request = pb.RegisterMerchantRequest(
            invite_code=code, email=email, name="Mia", company_name=company_name
        )
        return await self.stub.RegisterMerchant(request)

    async def register_merchant(self, email: str, company_name: str = "Geo Ltd") -> pb.Session:
        challenge = await self.start_merchant(email, await self.invite(email), company_name)
        return await self.verify(challenge, email)

    async def audit_records(self, action: str) -> list[AuditRecord]:
        """What waits in the outbox for the audit log, in the order of its writing."""
        rows = await self._outbox(topics.AUDIT_EVENTS)
        records = [AuditRecord.FromString(row["payload"]) for row in rows]
        return [record for record in records if record.action == action]

    async def events(self) -> list[IdentityEvent]:
        """What waits in the outbox for identity.events; each is keyed by its user or project."""
        events = []
        for row in await self._outbox(topics.IDENTITY_EVENTS):
            event = IdentityEvent.FromString(row["payload"])
            subject = (
                event.merchant_changed.merchant_id
                or event.consumer_changed.consumer_id
                or event.project_changed.project_id
            )
            assert row["message_key"] == subject.encode()
            events.append(event)
        return events

    async def told(self, email: str) -> list[Notification]:
        """What waits in the outbox to be told to the address."""
        [row] = await self.fetch("SELECT user_id::text FROM users WHERE email = $1", email)
        rows = await self._outbox(topics.NOTIFICATIONS)
        return [
            Notification.FromString(each["payload"])
            for each in rows
            if each["message_key"] == row["user_id"].encode()
        ]

    async def _outbox(self, topic: str) -> list[Any]:
        query = "SELECT message_key, payload FROM outbox WHERE topic = $1 ORDER BY outbox_id"
        return await self.fetch(query, topic)


@dataclass
class MailServer:
    """An SMTP server on a port of its own; `answers` are given before it takes everything."""

    port: int = 0
    answers: list[str] = field(default_factory=list)
    taken: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answers:
            return self.answers.pop(0)
        content = envelope.original_content or b""
        message = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        self.taken.append((envelope.mail_from or "", envelope.rcpt_tos, message))
        return "250 taken"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        def session() -> SMTP:
            return SMTP(self, hostname="localhost", enable_SMTPUTF8=True)

        server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()


@pytest.fixture
def make_smtp() -> type[MailServer]:
    return MailServer


@pytest.fixture
async def smtp() -> AsyncIterator[MailServer]:
    server = MailServer()
    async with server.serving():
        yield server


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("identity", "identity_svc", Store)


@pytest.fixture(scope="session")
def encryption_key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    """No issuer: signing in with one is shown where browsers are, on a real provider."""
    async with open_providers([], "https://ams.example") as opened:
        yield opened


@pytest.fixture
def admins_need_second_factor() -> bool:
    """Overridden by tests of what admins need."""
    return False


@pytest.fixture
async def servicer(
    database: Database[Store],
    encryption_key: str,
    clock: MovingClock,
    providers: Providers,
    admins_need_second_factor: bool,
) -> IdentityService:
    vault = Vault([encryption_key])
    keyring = Keyring(database, vault, clock)
    await keyring.refresh()
    limits = SignInLimits(vault, ASKS_PER_HOUR, MAILS_PER_HOUR)
    return IdentityService(
        database=database,
        standing_readers=StandingReaders(database),
        vault=vault,
        keyring=keyring,
        mail_queue=MailQueue(vault, "https://ams.example"),
        session_issuer=SessionIssuer(keyring, admins_need_second_factor=admins_need_second_factor),
        service_secrets={"keys-svc": "k" * 32, "gateway": "g" * 32},
        providers=providers,
        limits=limits,
        factors=FactorChecks(vault, limits, RelyingParty("https://ams.example")),
        tries=TryCounts(database, clock),
        clock=clock,
    )


@pytest.fixture
async def identity(
    servicer: IdentityService, clock: MovingClock, serve_rpc: Serve, issuer: TestIssuer
) -> AsyncIterator[Identity]:
    channels = {service.name: await serve_rpc(service, add) for service, add in services_of(servicer)}
    admin = (("authorization", f"Bearer {issuer.user_token(uuid7(), ADMIN)}"),)
    yield Identity(
        channels["IdentityService"],
        rpc.IdentityServiceStub(channels["IdentityService"]),
        TeamServiceStub(channels["TeamService"]),
        SettingsServiceStub(channels["SettingsService"]),
        ProfileServiceStub(channels["ProfileService"]),
        servicer,
        clock,
        admin,
        channels["SessionService"],
        SessionServiceStub(channels["SessionService"]),
        issuer,
        channels["TokenService"],
        TokenServiceStub(channels["TokenService"]),
        channels["SecondFactorService"],
        SecondFactorServiceStub(channels["SecondFactorService"]),
    )


@pytest.fixture
async def audit_superuser(admin_database_url: str, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who may do anything to the audit log."""
    url = with_database(admin_database_url, database_url.rpartition("/")[2])
    connection = await asyncpg.connect(url, server_settings={"search_path": "audit"})
    yield connection
    await connection.close()


@pytest.fixture
def rebuild_audit_log(audit_superuser: asyncpg.Connection) -> Callable[..., Awaitable[None]]:
    """What somebody does who knows how the chain is made: every record gets the given actor or time of
    storing, and a new hash."""

    async def rebuild(**changed: object) -> None:
        await audit_superuser.execute("ALTER TABLE records DISABLE TRIGGER ALL")
        last = BEGINNING.record_hash
        for row in await audit_superuser.fetch("SELECT * FROM records ORDER BY position"):
            stored = ChainedRecord(**(dict(row) | changed))
            last = chained_hash(last, stored)
            await audit_superuser.execute(
                "UPDATE records SET actor = $2, stored_at = $3, record_hash = $4 WHERE position = $1",
                stored.position,
                stored.actor,
                stored.stored_at,
                last,
            )
        await audit_superuser.execute("UPDATE head SET record_hash = $1", last)
        await audit_superuser.execute("ALTER TABLE records ENABLE TRIGGER ALL")

    return rebuild


@dataclass(frozen=True)
class Person:
    """A registered consumer."""

    user_id: str
    email: str
    metadata: tuple[tuple[str, str]]


@dataclass(frozen=True)
class Projects:
    """The running ProjectService, and what people do with it."""

    channel: grpc.aio.Channel
    stub: project_rpc.ProjectServiceStub
    identity: Identity
    issuer: TestIssuer

    async def person(self, name: str) -> Person:
        """Registers a consumer called `name`, whose address is name@example.com."""
        email = f"{name.lower()}@example.com"
        user_id = (await self.identity.register_consumer(email, name)).user.user_id
        token = self.issuer.user_token(UUID(user_id), CONSUMER)
        return Person(user_id, email, (("authorization", f"Bearer {token}"),))

    async def create(self, owner: Person, name: str = "Maps") -> project_pb.Project:
        return await self.stub.CreateProject(
            project_pb.CreateProjectRequest(name=name), metadata=owner.metadata
        )

    async def invite(
        self, project_id: str, by: Person, email: str, role: ProjectRole.ValueType, *service_ids: str
    ) -> project_pb.ProjectInvite:
        request = project_pb.CreateProjectInvitationRequest(
            project_id=project_id, email=email, role=role, service_ids=service_ids
        )
        return await self.stub.CreateProjectInvitation(request, metadata=by.metadata)

    async def accept(self, invitation_id: str, person: Person) -> project_pb.Project:
        request = project_pb.AcceptProjectInvitationRequest(invitation_id=invitation_id)
        return await self.stub.AcceptProjectInvitation(request, metadata=person.metadata)

    async def join(self, project_id: str, owner: Person, person: Person, role: ProjectRole.ValueType) -> None:
        """Invited by the owner, and accepted."""
        invite = await self.invite(project_id, owner, person.email, role)
        await self.accept(invite.invitation_id, person)

    async def roles(self, project_id: str, of: Person) -> dict[str, ProjectRole.ValueType]:
        """The members' roles by their names, as this member sees them."""
        request = project_pb.ListProjectMembersRequest(project_id=project_id)
        answer = await self.stub.ListProjectMembers(request, metadata=of.metadata)
        return {member.name: member.role for member in answer.members}

    async def published(self) -> list[ProjectChanged]:
        """The states of projects that wait in the outbox."""
        return [
            event.project_changed
            for event in await self.identity.events()
            if event.HasField("project_changed")
        ]


@pytest.fixture
async def projects(identity: Identity, serve_rpc: Serve, issuer: TestIssuer) -> Projects:
    services = {service.name: (service, add) for service, add in services_of(identity.servicer)}
    channel = await serve_rpc(*services["ProjectService"])
    return Projects(channel, project_rpc.ProjectServiceStub(channel), identity, issuer)
