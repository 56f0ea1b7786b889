"""The gateway as a black box: the program of this checkout, or of any commit, told by its environment."""

import contextlib
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ams_common.ports import free_port

from loadtests.support.processes import Program, running

# The commit before the consume path was rebuilt: what its figures are held against.
BEFORE = "f974d59"
ROOT = Path(__file__).resolve().parents[2]
# The folders that a gateway is imported from.
_SOURCES = ("gateway", "common", "protos")


@dataclass(frozen=True)
class Servers:
    """What every gateway of a run shares."""

    redis_url: str
    kafka: str


@dataclass(frozen=True)
class Gateway(Program):
    metrics_port: int
    topic_prefix: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metric(self, name: str) -> float | None:
        """The largest sample of the metric, also of its `_max`; None when it isn't exported."""
        found = re.findall(rf"^{name}(?:_max)?(?:\{{[^}}]*\}})? (\S+)$", self.scrape(), re.MULTILINE)
        return max(map(float, found)) if found else None

    def answers(self) -> dict[str, int]:
        """How many of each status of an upstream and of each code of a problem, over all workers."""
        found = re.findall(
            r'^ams_gateway_answers_total\{[^}]*code="([^"]+)"[^}]*\} (\S+)$', self.scrape(), re.MULTILINE
        )
        return {code: int(float(count)) for code, count in found}

    def wait(self) -> None:
        """Until a worker answers: the port is open before."""
        deadline_s = time.monotonic() + 60
        while not self.scrape():
            if time.monotonic() > deadline_s:
                sys.exit(f"the gateway doesn't answer\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def scrape(self) -> str:
        """From the operators' port, or from the one for calls where that isn't served yet."""
        for port in (self.metrics_port, self.port):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
            ):
                text: str = answer.read().decode()
                return text
        return ""

    def unacknowledged(self, timeout_s: float = 10) -> int:
        """Events that Kafka hasn't acknowledged, once there are none or time is up; -1: not exported."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left = self.metric("ams_gateway_events_unacknowledged")
            if not left or time.monotonic() > deadline_s:
                return -1 if left is None else int(left)
            time.sleep(0.1)


def checked_out(commit: str, directory: Path, folders: Sequence[str] = _SOURCES) -> Path:
    """Folders of a commit, in `directory`; from this repository, without a network."""
    directory.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, *folders], check=False, stdout=subprocess.PIPE
    )
    if archive.returncode:
        sys.exit(f"the commit {commit} isn't in this repository")
    subprocess.run(["tar", "-x", "-C", str(directory)], input=archive.stdout, check=True)
    return directory


@contextlib.contextmanager
def gateway(
    servers: Servers,
    journal: Path,
    *,
    cores: str = "",
    sources: Path | None = None,
    workers: int = 1,
    consume_protocol: bool = True,
    **settings: str,
) -> Iterator[Gateway]:
    """`sources`: where another commit's sources are. `settings`: further variables of the environment."""
    port, metrics_port = free_port(), free_port()
    topic_prefix = f"bench.{secrets.token_hex(4)}."
    environ = os.environ | {
        "REDIS_URL": servers.redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": servers.kafka,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
        "GATEWAY_WORKERS": str(workers),
        "GATEWAY_CONSUME_PROTOCOL": str(consume_protocol).lower(),
        "GATEWAY_JOURNAL_DIR": str(journal),
        "GATEWAY_ALLOW_PRIVATE_UPSTREAMS": "true",
        # Nobody is there: snapshots come out of Redis alone.
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "KEYS_ADDRESS": "127.0.0.1:1",
        "CATALOG_ADDRESS": "127.0.0.1:1",
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    if sources is not None:
        # Before the directories of the installed packages, which lead to this checkout.
        environ["PYTHONPATH"] = os.pathsep.join(str(sources / folder) for folder in _SOURCES)
        _require_import_from(sources, environ)
    command = [sys.executable, "-m", "ams_gateway"]
    log = journal.with_suffix(".log")
    with running(command, port, cores=cores, environ=environ, directory=journal.parent, log=log) as program:
        started = Gateway(program.pid, program.port, metrics_port, topic_prefix, log)
        started.wait()
        yield started


def _require_import_from(sources: Path, environ: dict[str, str]) -> None:
    """A commit that is measured against itself would look like no progress at all."""
    asked = [
        sys.executable,
        "-c",
        "import ams_gateway, ams_common; print(ams_gateway.__file__, ams_common.__file__)",
    ]
    found = subprocess.run(asked, env=environ, cwd=sources, check=True, capture_output=True, text=True).stdout
    if found.count(str(sources)) != 2:
        sys.exit(f"the gateway of {sources} is imported from {found}")
