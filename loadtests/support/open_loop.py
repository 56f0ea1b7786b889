"""An open-loop HTTP client: requests at due times, whatever the answers do, and their times from when due.

    python -m loadtests.support.open_loop

Reads a Plan as JSON from its input and writes a Latencies as JSON. A late answer delays no later request's
due time, and what waits for a connection has been waiting since it was due: so a stall counts for every
request that it met (no coordinated omission). One thread that sleeps in select(2), whose time-out is in
microseconds: the timers of asyncio and uvloop are in milliseconds, more than what is to be measured.
"""

import ctypes
import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass

_PR_SET_TIMERSLACK = 29
_ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Plan:
    port: int
    # Whole requests; they are sent in turn, over and over.
    requests: list[str]
    requests_per_s: float
    seconds: float
    connections: int = 32


@dataclass(frozen=True)
class Latencies:
    """In milliseconds, of each answered request, from its due time to the last byte of its answer."""

    from_due_ms: list[float]
    # How late the client itself was: what it adds to each.
    late_ms: list[float]
    failures: int


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.due_s = 0.0

    def fileno(self) -> int:
        return self.socket.fileno()

    def answer(self) -> int | None:
        """The status of the answer, once it is whole. Raises OSError at the end of the connection."""
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionResetError
        self.received += piece
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.lower().split(b"\r\n")
        [length] = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        if len(body) < length:
            return None
        self.received = b""
        return int(lines[0].split(b" ")[1])


def send_at_rate(plan: Plan) -> Latencies:
    _sharpen_timers()
    requests = [request.encode("latin-1") for request in plan.requests]
    idle = deque(_Connection(plan.port) for _ in range(plan.connections))
    busy: list[_Connection] = []
    latencies, late, failures = [], [], 0
    total = int(plan.requests_per_s * plan.seconds)
    begun_s = time.perf_counter()
    dues_s = [begun_s + number / plan.requests_per_s for number in range(total)]
    number = 0
    deadline_s = dues_s[-1] + _ANSWER_TIMEOUT_S
    while number < total or busy:
        now_s = time.perf_counter()
        if now_s > deadline_s:
            break
        while number < total and dues_s[number] <= now_s and idle:
            # The one that was used last: as few connections as are needed, as a client's pool does.
            connection = idle.pop()
            connection.due_s = dues_s[number]
            late.append((time.perf_counter() - connection.due_s) * 1000)
            connection.socket.sendall(requests[number % len(requests)])
            busy.append(connection)
            number += 1
        wait_s = max(0.0, dues_s[number] - time.perf_counter()) if number < total and idle else 1.0
        for connection in select.select(busy, (), (), wait_s)[0]:
            try:
                status = connection.answer()
            except OSError:
                busy.remove(connection)
                failures += 1
                connection.socket.close()
                idle.append(_Connection(plan.port))
                continue
            if status is None:
                continue
            busy.remove(connection)
            idle.append(connection)
            latencies.append((time.perf_counter() - connection.due_s) * 1000)
            failures += status != 200
    for connection in (*idle, *busy):
        connection.socket.close()
    return Latencies(latencies, late, failures + len(busy) + total - number)


def _sharpen_timers() -> None:
    """Linux may wake a thread 50 µs late to save power, as long as an answer takes here."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    json.dump(asdict(send_at_rate(plan)), sys.stdout)


if __name__ == "__main__":
    main()
