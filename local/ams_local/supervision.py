"""All processes side by side under honcho: when one ends, all end, and none is left over."""

import ctypes
import multiprocessing
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from honcho import manager as honcho_manager
from honcho.manager import Manager
from honcho.printer import Message, Printer
from honcho.process import Popen, Process

from ams_local.daemons import die_with_parent

# honcho's own five seconds would cut off services that are still answering their last calls.
STOP_TIMEOUT_S = 15
SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


def supervise(programs: Sequence[Program], logs: Path, *, shown: str) -> str | None:
    """Runs the programs until one ends or SIGINT or SIGTERM comes, and stops them all.

    Each writes to `<name>.log` in `logs`; the terminal gets what the program named `shown` prints. Returns
    the name of the program that ended by itself, or None.
    """
    honcho_manager.KILL_WAIT = STOP_TIMEOUT_S
    # A watcher must be our own child, to be told of our death.
    multiprocessing.set_start_method("fork", force=True)
    supervisor = _Supervisor(_LogPrinter(logs, shown))
    for program in programs:
        # exec: the shell that honcho starts gives way to the program, which so gets the signals itself.
        command = f"exec {shlex.join([*die_with_parent(), *program.command])}"
        supervisor.add_process(program.name, command, env=dict(program.environment))
    supervisor.loop()
    return supervisor.first_ended


class _LogPrinter(Printer):  # type: ignore[misc]
    """One log file per program, anew at each start, and one for honcho's own lines."""

    def __init__(self, logs: Path, shown: str) -> None:
        super().__init__(sys.stdout, prefix=False)
        self._logs = logs
        self._shown = shown
        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob("*.log"):
            old.unlink()

    def write(self, message: Message) -> None:
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        if message.name == self._shown:
            super().write(message)
        with (self._logs / f"{message.name}.log").open("ab") as log:
            log.write(data)


class _Supervisor(Manager):  # type: ignore[misc]
    """honcho's manager, made safe against a signal that comes while processes are being started."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(printer)
        self._process_ctor = _Watcher
        self._ending = False
        self.first_ended: str | None = None

    def _start(self) -> None:
        # A signal between two forks would end a watcher but not the program that it watches.
        with _signals_held():
            super()._start()

    def terminate(self) -> None:
        if not self._ending:
            ended = (name for name, entry in self._processes.items() if "returncode" in entry)
            self.first_ended = next(ended, None)
        self._ending = True
        # honcho can only signal processes whose ids it has been told.
        if super()._all_started():
            super().terminate()

    def _all_started(self) -> bool:
        all_started: bool = super()._all_started()
        if all_started and self._ending:
            super().terminate()
        return all_started


class _Watcher(Process):  # type: ignore[misc]
    """honcho's watcher of one program; it dies with us, and its program with it."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The signals are held since _Supervisor._start, here for good; the program must not inherit that.
        self._child_ctor = partial(Popen, preexec_fn=_release_signals)
        super().run(events, ignore_signals)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
