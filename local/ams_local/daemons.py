"""Child processes that never outlive us."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path


class StartError(Exception):
    """A process ended, or its time ran out, before it was ready."""


def die_with_parent() -> list[str]:
    """The command prefix that makes Linux end a child when its parent is killed; [] where there is none."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


class Daemon:
    """One long-running program in a session of its own, so that Ctrl-C in the terminal reaches only us
    and we choose the order in which things stop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        directory: Path,
        user: tuple[int, int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        uid, gid = user or (None, None)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*die_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=env,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Polls `ready`. Raises StartError, with the end of the log, if the process ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.process.poll() is not None:
                raise StartError(f"{self.name} ended with {self.process.returncode}:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready after {timeout_s:.0f} s:\n{self.log_end()}")
            time.sleep(0.05)

    def log_end(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = 20) -> None:
        """Ends the process and reaps it: kindly at first, its whole session by force when it lingers."""
        self.signal(signal_number)
        self.reap(timeout_s)

    def signal(self, signal_number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)

    def reap(self, timeout_s: float = 20) -> None:
        """Waits for the end, and brings it about when the time is up."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def stop_all(daemons: Iterable[Daemon]) -> None:
    """Ends them side by side: it takes as long as the slowest."""
    daemons = list(daemons)
    for daemon in daemons:
        daemon.signal(signal.SIGTERM)
    for daemon in daemons:
        daemon.reap()
