"""A person's first five minutes: one command, a summary, a `curl` line that works, Ctrl-C."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local import demo, guide, paths
from ams_local.rest import Mailbox, People, Rest
from ams_local.system import ADMIN_EMAIL, System

GIVEN = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")
START_TIMEOUT_S = 240


class Run:
    """`python -m ams_local run` as from a terminal, with a run directory of its own."""

    def __init__(self, directory: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in GIVEN}
        self.output = directory / "output.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ams_local", "run"],
                env={**environment, "AMS_RUN_DIR": str(directory / "run")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def curl(self) -> list[str]:
        """The words of the printed `curl` line, once it is there."""

        async def find() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output.read_text()
            return re.search(r"Try it +(curl .*)", self.output.read_text())

        line = await eventually(find, START_TIMEOUT_S)
        assert line
        return shlex.split(line[1])

    def interrupt(self) -> int:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(120)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A run directory that has the jars already, and that no process works in afterwards."""
    kafka = tmp_path / "run" / "kafka"
    kafka.mkdir(parents=True)
    for libraries in (paths.project_root() / ".run" / "kafka").glob("libs-*"):
        (kafka / libraries.name).symlink_to(libraries)
    yield tmp_path
    deadline = time.monotonic() + 30
    while left := processes_told_of(tmp_path / "run"):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def processes_told_of(directory: Path) -> list[str]:
    """Command lines of all processes whose environment or command line names the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in command + environment and command:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


async def first_consumer(http: aiohttp.ClientSession, system: System) -> Rest:
    mailbox = Mailbox(http, system.url("mail"))
    await mailbox.mark_all_read()
    return await People(Rest(http, system.url("ams-bff")), mailbox).sign_in(demo.CONSUMERS[0].email)


@pytest.mark.timeout(600)
async def test_one_command_runs_it_all_and_another_start_keeps_what_is_there(directory: Path) -> None:
    first = Run(directory)
    try:
        curl = await first.curl()
        async with aiohttp.ClientSession() as http:
            consumer = await first_consumer(http, guide.read_system(directory / "run"))
            before = await requests_of(consumer)
            assert status_of(curl) == "200"

            async def is_counted() -> bool:
                return await requests_of(consumer) > before

            await eventually(is_counted, timeout_s=30)
            await expect_an_invoice_of_last_month(consumer)
            await expect_people_are_told(http, guide.read_system(directory / "run"), consumer)
        assert (directory / "run" / "secrets.json").stat().st_mode & 0o077 == 0
    finally:
        assert first.interrupt() == 0

    second = Run(directory)
    try:
        again = await second.curl()
        # The same key; a port may be another if somebody took it in between.
        assert again[2] == curl[2] and "ams_live_" in again[2]
        assert status_of(again) == "200"
        assert "registers" not in second.output.read_text()
    finally:
        assert second.interrupt() == 0


async def expect_an_invoice_of_last_month(consumer: Rest) -> None:
    last_day = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    invoices = (await consumer.get("/consumer/invoices", period=f"{last_day:%Y-%m}"))["invoices"]
    assert {invoice["status"] for invoice in invoices} == {"INVOICE_ISSUED"}
    document = await consumer.get(f"/invoices/{invoices[0]['invoiceId']}/document", format="DOCUMENT_PDF")
    assert b64decode(document["content"]).startswith(b"%PDF")


async def expect_people_are_told(http: aiohttp.ClientSession, system: System, consumer: Rest) -> None:
    """Somebody of each role has read some of what they were told, and something waits."""
    people = People(Rest(http, system.url("ams-bff")), Mailbox(http, system.url("mail")))
    await people.mail.mark_all_read()
    for email, _, kinds in demo.TOLD:
        is_first = email == demo.CONSUMERS[0].email
        api = consumer if is_first else await people.sign_in(email or ADMIN_EMAIL)
        told = await api.list_all("/notifications", "notifications")
        assert kinds <= {each["kind"] for each in told}, email
        unread = [each for each in told if "readAt" not in each]
        assert demo.UNREAD <= len(unread) < len(told), email
    tokens = (await consumer.get("/tokens"))["tokens"]
    assert [token["name"] for token in tokens] == [demo.TOKEN_NAME]


async def requests_of(consumer: Rest) -> int:
    return int((await consumer.get("/consumer/usage"))["total"]["requests"])


def status_of(curl: list[str]) -> str:
    answer = subprocess.run(
        [*curl, "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout
