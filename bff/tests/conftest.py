"""The BFF as a process: alone, with nothing behind it, and with all services."""

import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiosmtpd.controller import Controller
from ams_common.ports import free_port
from ams_common.processes import GRPC_SERVERS
from ams_common.provision import provision, unprovision
from ams_common.testing.plugin import with_database
from support.plain_browser import Browser, Page

SERVICES = tuple(GRPC_SERVERS)
ADMIN_EMAIL = "admin@ams.example"
# Admins whom one test each gives further roles: who shares the services must not depend on the tests' order.
OTHER_ADMIN_EMAILS = ("two-roles@ams.example", "every-role@ams.example")
_START_TIMEOUT_S = 60.0


def wait_until(check: Callable[[], Any], timeout_s: float = _START_TIMEOUT_S) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while not (answer := check()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        time.sleep(0.05)
    return answer


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The problem's code; also holds that it is a whole problem."""
        problem = self.json
        assert self.headers.get_content_type() == "application/problem+json", self.text
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        return str(problem["code"])


@dataclass(frozen=True, slots=True)
class Bff:
    """A BFF that listens, and its log."""

    port: int
    log_path: Path

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own. A body that isn't bytes is sent as JSON."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def log_line(self, request_id: str) -> Any:
        """The line of the access log for a request; it is written after the answer."""

        def lines() -> list[Any]:
            text = self.log_path.read_text().rpartition("\n")[0]
            found = [json.loads(line) for line in text.splitlines() if f'"{request_id}"' in line]
            return [line for line in found if line["message"] == "http"]

        [line] = wait_until(lines)
        return line

    def send(self, raw: bytes) -> bytes:
        """Bytes as they are; what comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(raw)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@dataclass
class Mailbox:
    """The mail server of the tests: keeps what it is given, by recipient, and takes nothing for
    refused.example."""

    mails: dict[str, list[str]] = field(default_factory=dict)

    async def handle_RCPT(
        self, server: object, session: object, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.endswith("@refused.example"):
            return "550 5.1.1 <Nobody> of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        for recipient in envelope.rcpt_tos:
            self.mails.setdefault(recipient, []).append(envelope.content.decode())
        return "250 kept"

    def wait_for(self, email: str, pattern: str) -> str:
        """What the pattern finds in the newest mail to the address that has it, which is then thrown away."""

        def newest() -> tuple[str, str] | None:
            # People are told other things too.
            for mail in reversed(self.mails.get(email, [])):
                if found := re.search(pattern, mail, re.MULTILINE):
                    return mail, found[0]
            return None

        mail, text = wait_until(newest)
        self.mails[email].remove(mail)
        return str(text)


@dataclass(frozen=True, slots=True)
class Acme:
    """An OpenID Connect issuer that identity-svc knows; it runs when a test starts it."""

    port: int
    redirect_uri: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def setting(self) -> dict[str, str]:
        """What identity-svc's settings say of it."""
        client = {"client_id": "ams", "client_secret": "a secret of 24 characters: ?&%"}
        return {"id": "acme", "label": "Acme", "issuer": self.url, **client}


@dataclass(frozen=True, slots=True)
class AllServices:
    """The BFF with all of them behind it."""

    bff: Bff
    mailbox: Mailbox
    acme: Acme
    addresses: Mapping[str, str]  # of the services
    # As each service connects.
    database_urls: Mapping[str, str]
    logs: Mapping[str, Path]
    # An administrator's URL of their database, and the role of each service in it.
    database_url: str
    roles: Mapping[str, str]
    kafka_bootstrap: str
    topic_prefix: str

    def wait_until(self, check: Callable[[], Any]) -> Any:
        """The first truthy answer of `check`: what one service tells another takes a moment."""
        return wait_until(check)

    def sign_in(self, challenge: Answer, email: str) -> str:
        """An access token, for the code that the challenge had mailed."""
        assert challenge.status == 200, challenge.text
        code = self.mailbox.wait_for(email, r"^[0-9]{6}\r?$").strip()
        path = f"/api/v1/auth/challenges/{challenge.json['challengeId']}:verify"
        session = self.bff.ask("POST", path, {"code": code})
        assert session.status == 200, session.text
        return str(session.json["accessToken"])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True)
class Program:
    """A console script of ours, and its environment."""

    name: str
    environment: Mapping[str, str]
    port: int
    log_path: Path

    def launch(self) -> subprocess.Popen[bytes]:
        script = Path(sys.executable).parent / self.name
        with self.log_path.open("wb") as log:
            return subprocess.Popen([script], env={**os.environ, **self.environment}, stderr=log)

    def wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        """Until it listens."""
        wait_until(lambda: process.poll() is not None or accepts(self.port))
        assert process.poll() is None, self.log_path.read_text()


@contextmanager
def processes(programs: Sequence[Program]) -> Iterator[None]:
    """Side by side, from listening until stopped; each must stop in peace."""
    running = [program.launch() for program in programs]
    try:
        for program, process in zip(programs, running, strict=True):
            program.wait_until_listening(process)
        yield
    finally:
        for process in running:
            process.terminate()
        codes = [process.wait(30) for process in running]
    for program, code in zip(programs, codes, strict=True):
        assert code == 0, program.log_path.read_text()[-2000:]


def bff_program(addresses: Mapping[str, str], directory: Path, port: int, **settings: str) -> Program:
    environment = {f"{service.upper()}_ADDRESS": address for service, address in addresses.items()}
    # Whoever tests on a machine that is busy waits for its services; what hangs has tests of its own.
    own = {"BFF_LISTEN": f"127.0.0.1:{port}", "BFF_READ_DEADLINE_S": "10", **settings}
    return Program("ams-bff", environment | own, port, directory / f"bff-{port}.log")


@contextmanager
def running_bff(addresses: Mapping[str, str], directory: Path, **settings: str) -> Iterator[Bff]:
    program = bff_program(addresses, directory, free_port(), **settings)
    with processes([program]):
        yield Bff(program.port, program.log_path)


@pytest.fixture(scope="session")
def start_bff(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`start_bff(**settings)`: a BFF that has nothing behind it."""
    directory = tmp_path_factory.mktemp("alone")
    with ExitStack() as stack:

        def start(**settings: str) -> Bff:
            nobody = dict.fromkeys(SERVICES, "127.0.0.1:1")
            no_sessions = {"REDIS_URL": "redis://127.0.0.1:1/0"}
            return stack.enter_context(running_bff(nobody, directory, **no_sessions | settings))

        yield start


@pytest.fixture(scope="session")
def bff(start_bff: Any) -> Any:
    """A BFF that has nothing behind it."""
    return start_bff()


@pytest.fixture(scope="session")
def all_services(
    admin_database_url: str,
    redis_url: str,
    kafka_bootstrap: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AllServices]:
    """Every service as a process on a database of its own, and a BFF in front of them."""
    directory, name = tmp_path_factory.mktemp("all_services"), f"bff_{secrets.token_hex(4)}"
    owners = {service: f"{name}_{service}" for service in SERVICES}
    urls = uvloop.run(provision(admin_database_url, name, owners=owners))
    ports = {service: free_port() for service in SERVICES}
    addresses = {service: f"127.0.0.1:{port}" for service, port in ports.items()}
    mailbox, bff_port, topic_prefix = Mailbox(), free_port(), f"{name}."
    acme = Acme(free_port(), f"http://127.0.0.1:{bff_port}/login/with/acme/return")
    with ExitStack() as stack:
        stack.callback(lambda: uvloop.run(unprovision(admin_database_url, name, owners)))
        mail = Controller(mailbox, hostname="127.0.0.1", port=free_port())
        mail.start()
        stack.callback(mail.stop)
        common = {f"{service.upper()}_ADDRESS": address for service, address in addresses.items()} | {
            "REDIS_URL": redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
            "KAFKA_TOPIC_PREFIX": topic_prefix,
            "IDENTITY_ADMIN_EMAILS": ",".join([ADMIN_EMAIL, *OTHER_ADMIN_EMAILS]),
            "IDENTITY_SMTP_PORT": str(mail.port),
            "REGISTRY_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
            # Everybody is at one address here.
            "IDENTITY_CODE_ASKS_PER_HOUR": "100000",
            "IDENTITY_CODE_MAILS_PER_HOUR": "100000",
            "IDENTITY_PUBLIC_URL": f"http://127.0.0.1:{bff_port}",
            "IDENTITY_OIDC_ISSUERS": json.dumps([acme.setting]),
            "PSEUDONYM_KEY": secrets.token_urlsafe(32),
        }
        own = {
            service: {
                f"{service.upper()}_DATABASE_URL": urls[service],
                f"{service.upper()}_LISTEN": addresses[service],
            }
            for service in SERVICES
        }
        programs = [
            Program(f"{service}-svc", common | own[service], ports[service], directory / f"{service}.log")
            for service in SERVICES
        ]
        bff = bff_program(addresses, directory, bff_port, BFF_DEBUG="true", REDIS_URL=redis_url)
        stack.enter_context(processes([*programs, bff]))
        logs = {service: directory / f"{service}.log" for service in SERVICES}
        yield AllServices(
            Bff(bff_port, bff.log_path),
            mailbox,
            acme,
            addresses,
            urls,
            logs,
            with_database(admin_database_url, name),
            owners,
            kafka_bootstrap,
            topic_prefix,
        )


@dataclass(frozen=True, slots=True)
class Browsers:
    """Browsers of people who come to the web UI."""

    all_services: AllServices

    def browser(self) -> Browser:
        """One that has never been here."""
        return Browser(self.all_services.bff.port)

    def type_code(self, browser: Browser, email: str) -> Page:
        """Types the mailed code."""
        code = self.all_services.mailbox.wait_for(email, r"^[0-9]{6}\r?$").strip()
        return browser.post("/login/code", "/login/code", code=code)

    def register(self, browser: Browser | None = None, **fields: str) -> Browser:
        """A new consumer, signed in."""
        browser = browser or self.browser()
        email = f"{secrets.token_hex(6)}@people.example"
        assert browser.post("/register", "/register", email=email, name="Zoë", **fields).status == 303
        assert self.type_code(browser, email).status == 303
        return browser

    def sign_in(self, email: str) -> Browser:
        """Somebody who has an account."""
        browser = self.browser()
        assert browser.post("/login", email=email).location == "/login/code"
        assert self.type_code(browser, email).status == 303
        return browser


@pytest.fixture(scope="session")
def browsers(all_services: AllServices) -> Browsers:
    return Browsers(all_services)
