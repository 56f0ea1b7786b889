"""Workers, one or several, each with a listening socket of its own, and their replacement without a refusal.

The kernel shares connections out among sockets that listen on one port (SO_REUSEPORT), where a single one
that all workers accept from would leave some of them without any. The sockets are the supervisor's: whichever
worker goes, its socket stays, and who connects meanwhile waits for the next worker there.

SIGTERM and SIGINT stop everything. SIGHUP replaces each worker by one with the present code and settings: the
old one stops taking calls when the new one takes them, and ends when its calls are answered. Should the
supervisor itself be killed, its workers stop as if they had been told to.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from ams_common.settings import parse_listen

from ams_gateway.settings import Settings

log = logging.getLogger(__name__)

BACKLOG = 4096
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_START_TIMEOUT_S = 60.0
# A worker that ends so soon after its start isn't started again at once.
_QUICK_END_S = 1.0


def listen(address: str) -> socket.socket:
    """A listening socket that others may listen beside on the same port."""
    host, port = parse_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True)


@dataclass
class _Slot:
    """A place for a worker, with its sockets."""

    calls: socket.socket
    operators: socket.socket | None
    worker: subprocess.Popen[bytes]
    started_at_s: float


class Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots: list[_Slot] = []
        # Replaced ones that still answer calls.
        self._leaving: list[subprocess.Popen[bytes]] = []
        # Workers read the end of this when the only process that can write to it, this one, is gone.
        self._lifeline, self._held_end = os.pipe()

    def run(self) -> None:
        """Until told to stop."""
        # Taken one by one by sigwait: nothing is interrupted, and none is missed.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for _ in range(self._settings.workers):
            calls = listen(self._settings.listen)
            operators = listen(self._settings.metrics_listen) if self._settings.metrics_listen else None
            self._slots.append(_Slot(calls, operators, *self._start(calls, operators)))
        while True:
            number = signal.sigwait(_SIGNALS)
            if number == signal.SIGCHLD:
                self._replace_dead()
            elif number == signal.SIGHUP:
                self._replace_all()
            else:
                break
        self._stop()

    def _start(
        self, calls: socket.socket, operators: socket.socket | None, *, wait: bool = False
    ) -> tuple[subprocess.Popen[bytes], float]:
        """A new worker. With `wait` it takes calls when this returns. Raises TimeoutError."""
        read_end, write_end = os.pipe()
        passed = [
            calls.fileno(),
            operators.fileno() if operators is not None else -1,
            write_end,
            self._lifeline,
        ]
        worker = subprocess.Popen(  # noqa: S603 - ourselves, by numbers of our own
            [sys.executable, "-m", "ams_gateway.worker", *map(str, passed)],
            pass_fds=[fd for fd in passed if fd >= 0],
            # It must hear the signals that are kept for sigwait here.
            preexec_fn=_unblock,
        )
        os.close(write_end)
        try:
            if wait and not (select.select([read_end], [], [], _START_TIMEOUT_S)[0] and os.read(read_end, 1)):
                worker.kill()
                raise TimeoutError("the new worker doesn't start")
        finally:
            os.close(read_end)
        return worker, time.monotonic()

    def _replace_dead(self) -> None:
        self._leaving = [worker for worker in self._leaving if worker.poll() is None]
        for slot in self._slots:
            if slot.worker.poll() is not None:
                log.error("a worker ended by itself", extra={"exit_code": slot.worker.returncode})
                if time.monotonic() - slot.started_at_s < _QUICK_END_S:
                    time.sleep(_QUICK_END_S)
                slot.worker, slot.started_at_s = self._start(slot.calls, slot.operators)

    def _replace_all(self) -> None:
        for slot in self._slots:
            try:
                worker, started_at_s = self._start(slot.calls, slot.operators, wait=True)
            except TimeoutError as error:
                # Those that serve go on serving.
                log.error("workers are not replaced: %s", error)
                return
            slot.worker.terminate()
            self._leaving.append(slot.worker)
            slot.worker, slot.started_at_s = worker, started_at_s

    def _stop(self) -> None:
        workers = [*(slot.worker for slot in self._slots), *self._leaving]
        for worker in workers:
            worker.terminate()
        for slot in self._slots:
            # Or who connects from here on would wait for nobody: refused, it goes elsewhere.
            slot.calls.close()
        # Requests, the journal, then what is left to close.
        deadline_s = time.monotonic() + 2 * self._settings.drain_s + 5
        for worker in workers:
            try:
                worker.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
