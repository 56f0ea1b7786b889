"""Real servers come up, answer, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ams_local import paths

EXEC = [sys.executable, "-m", "ams_local", "exec", "--tests", "--"]
TOLD = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")
# Imports nothing of ours: it asks the three servers through their own clients.
ASK_ALL = """
import asyncio, os, asyncpg, redis
from aiokafka import AIOKafkaProducer
async def ask():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    print(await connection.fetchval("SELECT current_setting('is_superuser')"))
    print(await connection.fetchval("SELECT current_setting('fsync')"))
    print(int(await connection.fetchval("SELECT current_setting('max_connections')")) >= 400)
    await connection.close()
    async with AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"]) as producer:
        print((await producer.send_and_wait("new-topic", b"x")).offset)
        print(len(await producer.partitions_for("new-topic")))
asyncio.run(ask())
with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
    print(client.ping(), client.config_get("appendonly")["appendonly"])
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment without servers, whose throwaway directories lie where the test can look."""
    temporary = tmp_path / "throwaway"
    temporary.mkdir()
    top = Path(tempfile.gettempdir())
    for directory in (temporary, *temporary.parents):
        if top in directory.parents:
            directory.chmod(0o755)  # the server's user must pass
    outside = {name: value for name, value in os.environ.items() if name not in TOLD}
    yield {**outside, "TMPDIR": str(temporary)}
    assert list(temporary.iterdir()) == []


def processes_that_mention(text: str) -> list[str]:
    """Command lines of the running processes that hold the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found


def test_a_command_reaches_all_three_servers_and_no_process_outlives_it(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*EXEC, sys.executable, "-c", ASK_ALL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["on", "off", "True", "0", "4", "True no"], done.stderr
    assert done.returncode == 0
    assert processes_that_mention(environment["TMPDIR"]) == []


def test_the_commands_exit_code_comes_back(environment: dict[str, str]) -> None:
    command = [*EXEC, sys.executable, "-c", "import sys; sys.exit(7)"]
    done = subprocess.run(command, env=environment | dict.fromkeys(TOLD, "given"), check=False)
    assert done.returncode == 7


def test_servers_that_the_environment_names_are_used_instead(environment: dict[str, str]) -> None:
    given = {
        "DATABASE_URL": "postgresql://elsewhere:1/postgres",
        "REDIS_URL": "redis://elsewhere:2/0",
        "KAFKA_BOOTSTRAP_SERVERS": "elsewhere:3",
    }
    show = f"""
import os, pathlib
print(*(os.environ[name] for name in {TOLD}))
print(*(path.name for path in pathlib.Path(os.environ["TMPDIR"]).glob("*/*")))
"""
    command = [*EXEC, sys.executable, "-c", show]
    done = subprocess.run(command, env=environment | given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [" ".join(given.values()), "lock"]


def test_temporary_files_lie_in_memory_where_there_is_room_and_are_gone_afterwards() -> None:
    outside = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    leave = "import pathlib, tempfile; path = pathlib.Path(tempfile.mkstemp()[1]); print(path)"
    command = [*EXEC, sys.executable, "-c", leave]
    done = subprocess.run(
        command, env=outside | dict.fromkeys(TOLD, "given"), capture_output=True, text=True, check=True
    )
    left = Path(done.stdout.strip())
    assert left.is_relative_to(paths.MEMORY) == paths.has_enough_memory(paths.MEMORY)
    assert not (left.is_relative_to(paths.MEMORY) and left.parent.exists())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_everything(environment: dict[str, str], number: signal.Signals, code: int) -> None:
    given = {"KAFKA_BOOTSTRAP_SERVERS": "elsewhere:3"}
    command = [*EXEC, sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    # As from a terminal: the signal reaches the whole foreground group.
    process = subprocess.Popen(
        command, env=environment | given, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    os.killpg(process.pid, number)
    assert process.wait(30) == code
    process.stdout.close()
    assert processes_that_mention(environment["TMPDIR"]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_even_a_kill_leaves_no_server_running(tmp_path: Path, environment: dict[str, str]) -> None:
    given = {"KAFKA_BOOTSTRAP_SERVERS": "elsewhere:3"}
    command = [*EXEC, sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    process = subprocess.Popen(command, env=environment | given, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while processes_that_mention(environment["TMPDIR"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for left in Path(environment["TMPDIR"]).iterdir():
        subprocess.run(["rm", "-rf", str(left)], check=True)
