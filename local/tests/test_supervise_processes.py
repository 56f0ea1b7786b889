"""All processes run side by side and end together, whatever ends them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# A supervisor of three programs; "third" is what the test says.
SUPERVISE = """
import os, sys
from pathlib import Path
from ams_local.supervision import Program, supervise
sleeper = [sys.executable, "-c", "import sys, time; print('up', flush=True); time.sleep(600)", sys.argv[1]]
third = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
processes = [Program("first", sleeper, os.environ), Program("second", sleeper, os.environ)]
ended = supervise([*processes, Program("third", third, os.environ)], Path(sys.argv[1]), shown="third")
print("ended:", ended)
"""
SPEAK = "import time; print('I am the third', flush=True); time.sleep(600)"
FAIL = "import sys; print('cannot go on'); sys.exit(3)"


def start(logs: Path, third: str) -> subprocess.Popen[str]:
    # A group of its own, as a command in a terminal has.
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(logs), third],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def mentioned_in_command_lines(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


def await_end_of_all(logs: Path) -> None:
    deadline = time.monotonic() + 20
    while left := mentioned_in_command_lines(str(logs)):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert mentioned_in_command_lines(str(tmp_path)) == []


def output_of(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    return output.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_ends_all_programs(logs: Path, number: signal.Signals) -> None:
    process = start(logs, SPEAK)
    assert process.stdout is not None and process.stdout.readline() == "I am the third\n"
    os.killpg(process.pid, number)
    assert output_of(process) == ["ended: None"]


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_a_signal_while_programs_are_being_started_leaves_none_behind(logs: Path, delay_s: float) -> None:
    process = start(logs, SPEAK)
    time.sleep(delay_s)  # where in the start it hits is the point, and may be anywhere
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    await_end_of_all(logs)


def test_a_program_that_fails_ends_the_others_and_is_named(logs: Path) -> None:
    assert output_of(start(logs, FAIL)) == ["cannot go on", "ended: third"]
    assert (logs / "third.log").read_text() == "cannot go on\n"


def test_one_program_is_shown_and_each_has_its_log(logs: Path) -> None:
    process = start(logs, SPEAK)
    assert process.stdout is not None and process.stdout.readline() == "I am the third\n"
    deadline = time.monotonic() + 20
    while not all((logs / f"{name}.log").exists() for name in ("first", "second")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    assert output_of(process) == ["ended: None"]
    assert (logs / "first.log").read_text() == "up\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_even_a_kill_of_the_supervisor_ends_all_programs(logs: Path) -> None:
    process = start(logs, SPEAK)
    assert process.stdout is not None and process.stdout.readline() == "I am the third\n"
    process.kill()
    process.wait()
    process.stdout.close()
    await_end_of_all(logs)
