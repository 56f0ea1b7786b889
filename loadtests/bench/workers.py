"""`make bench-workers`: what a second worker adds, and that memory follows neither requests nor connections.

    python -m loadtests.bench.workers [--seconds S] [--requests N] [--keys N] [--services N] [--idle N]

Three claims, each checked; exits with 1 when one fails:
1. Two workers on two cores do at least 1.9 × one worker's calls per core. The load has its share of the same
   cores: so they are held, per second of their own CPU time, against two gateways of one worker that have
   each a core and half of the load; and both workers get work.
2. Memory is flat: with that many API keys and services in turn, it grows by less than 2 bytes a request
   once every key has been seen. (Of 16 bytes a request a busy gateway dies in a day.)
3. That many idle connections, each of which has made a call, take less than 300 MB in all.
"""

import argparse
import contextlib
import itertools
import os
import resource
import socket
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ams_local.servers import serving

from loadtests.support import nginx, wrk
from loadtests.support.gateway import Gateway, Servers, gateway
from loadtests.support.processes import cpu_s, require_cores, require_tools
from loadtests.support.seeds import Service, new_slug, seed

ANSWER_BYTES = 1024
CONNECTIONS = 64
WARM_UP_S = 2
WORKERS_AIM = 1.9
LEAST_SHARE = 0.3
MOST_BYTES_PER_REQUEST = 2.0
MOST_IDLE_BYTES = 300_000_000
MEGABYTE = 1e6
PIECES = 10
# A consumer's calls come together, as real ones do.
BURST = 10


@dataclass(frozen=True)
class Scaling:
    """How some workers did on some cores."""

    name: str
    requests_per_s: float
    requests_per_cpu_s: float
    # The least busy worker's part of an equal share of the CPU time.
    least_share: float


def scaling(name: str, gateways: list[Gateway], script: Path, workers: int, seconds: float) -> Scaling:
    """All the gateways at once, with as many connections in all."""

    def load(running: Gateway, seconds: float) -> wrk.Outcome:
        connections = CONNECTIONS // len(gateways)
        return wrk.wrk(f"{running.url}/api/consume", script, seconds, connections=connections)

    with ThreadPoolExecutor(len(gateways)) as threads:
        list(threads.map(lambda each: load(each, WARM_UP_S), gateways))
        before_s = {pid: cpu_s(pid) for each in gateways for pid in each.processes()}
        outcomes = list(threads.map(lambda each: load(each, seconds), gateways))
        used_s = sorted((cpu_s(pid) - begun_s for pid, begun_s in before_s.items()), reverse=True)
    for each, outcome in zip(gateways, outcomes, strict=True):
        _refuse_failures(each, outcome)
    requests = sum(outcome.requests for outcome in outcomes)
    busiest = used_s[:workers]
    return Scaling(
        name,
        sum(outcome.requests_per_s for outcome in outcomes),
        requests / sum(used_s),
        min(busiest) / sum(busiest) * workers,
    )


def measure_scaling(servers: Servers, home: Path, script: Path, seconds: float) -> list[Scaling]:
    """What is under test comes last; the one before it is what it is held against."""
    with gateway(servers, home / "journal-one", cores="0") as one:
        found = [scaling("1 worker on 1 core", [one], script, 1, seconds)]
    with gateway(servers, home / "journal-shared", cores="0", workers=2) as shared:
        found.append(scaling("2 workers on 1 core", [shared], script, 2, seconds))
    with (
        gateway(servers, home / "journal-first", cores="0") as first,
        gateway(servers, home / "journal-second", cores="1") as second,
    ):
        found.append(scaling("2 gateways, a core each", [first, second], script, 2, seconds))
    with gateway(servers, home / "journal-two", cores="0,1", workers=2) as two:
        found.append(scaling("2 workers on 2 cores", [two], script, 2, seconds))
    return found


def check_scaling(found: list[Scaling]) -> bool:
    print(f"\n{'':24}{'req/s':>9}{'req per CPU s':>15}{'least worker':>14}")
    for each in found:
        rates = f"{each.requests_per_s:>9,.0f}{each.requests_per_cpu_s:>15,.0f}"
        print(f"{each.name:24}{rates}{each.least_share:>14.2f}")
    two, alone = found[-1], found[-2]
    reached = two.requests_per_cpu_s / alone.requests_per_cpu_s * 2
    print(f"two workers do {reached:.2f} × one's calls per core given: at least {WORKERS_AIM} wanted")
    if two.least_share < LEAST_SHARE:
        print(f"  the lesser worker has {two.least_share:.2f} of an equal share: {LEAST_SHARE} wanted")
    return reached >= WORKERS_AIM and two.least_share >= LEAST_SHARE


def check_memory(running: Gateway, script: Path, requests: int, keys: int) -> bool:
    """Warm until each key has been seen, then in pieces: what grows with requests grows in each of them."""
    url = f"{running.url}/api/consume"
    seen = 0
    while seen < keys:
        seen += _served(running, wrk.wrk(url, script, 10, begin=seen))
    print(f"\n{'requests':>11}{'RSS MB':>9}")
    marks = [(0, running.rss_bytes())]
    print(f"{0:>11,}{marks[-1][1] / MEGABYTE:>9.1f}", flush=True)
    rate = 4000.0
    while marks[-1][0] < requests:
        done = marks[-1][0]
        seconds = min(60, max(1, requests / PIECES / rate))
        outcome = wrk.wrk(url, script, seconds, begin=done, burst=BURST)
        rate = outcome.requests_per_s
        # What waits for Kafka is in the journal's buffers, and no leak.
        running.unacknowledged(30)
        marks.append((done + _served(running, outcome), running.rss_bytes()))
        print(f"{marks[-1][0]:>11,}{marks[-1][1] / MEGABYTE:>9.1f}", flush=True)
    growth = slope(marks)
    print(f"memory grows by {growth:.2f} bytes a request: less than {MOST_BYTES_PER_REQUEST} wanted")
    return growth < MOST_BYTES_PER_REQUEST


def _served(running: Gateway, outcome: wrk.Outcome) -> int:
    _refuse_failures(running, outcome)
    return outcome.requests


def _refuse_failures(running: Gateway, outcome: wrk.Outcome) -> None:
    """A call that failed says nothing about speed or memory: exits, and tells what failed."""
    if not outcome.errors:
        return
    failures = ", ".join(f"{count:,} {kind}" for kind, count in outcome.failures.items() if count)
    print(running.log.read_text(errors="replace")[-1000:])
    sys.exit(f"of {outcome.requests:,} calls failed: {failures}; answers so far: {running.answers()}")


def slope(marks: list[tuple[int, int]]) -> float:
    """Bytes per request: the median over all pairs of marks (requests, bytes), for which one step, as when a
    table doubles, is no growth."""
    return statistics.median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in itertools.combinations(marks, 2)
    )


def check_idle_connections(running: Gateway, secret: str, slug: str, count: int) -> bool:
    request = (
        "POST /api/consume HTTP/1.1\r\nHost: gateway.example\r\nContent-Length: 2\r\n"
        f"Authorization: Bearer {secret}\r\nX-AMS-Service: {slug}\r\n\r\n{{}}"
    ).encode()
    before_bytes = running.rss_bytes()
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 10))
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200 "):
                sys.exit(f"connection {len(opened) + 1} got no 200")
            opened.append(connection)
        used_bytes = running.rss_bytes()
        # A last call on the first connection: they are all still held.
        is_held = all(_is_open(connection) for connection in opened)
    shown = f"{used_bytes / MEGABYTE:.0f} MB, {before_bytes / MEGABYTE:.0f} before them"
    closed = "" if is_held else "; SOME WERE CLOSED"
    print(f"\n{count:,} idle connections: {shown}; less than {MOST_IDLE_BYTES / MEGABYTE:.0f} wanted{closed}")
    return used_bytes < MOST_IDLE_BYTES and is_held


def _is_open(connection: socket.socket) -> bool:
    """Whatever of the answer's body is left to read is there; the end of the connection isn't."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while connection.recv(65536):
            pass
        return False
    return True


def _raise_file_limit() -> None:
    """For us and for what we start: each connection is a file on either side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each form of scaling")
    parser.add_argument("--requests", type=int, default=2_000_000, help="that memory is watched over")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--idle", type=int, default=10_000, help="connections; 0: leave it out")
    arguments = parser.parse_args()
    require_tools()
    require_cores(2)
    os.sched_setaffinity(0, {1})
    print("==> starting Redis and Kafka", flush=True)
    environment = {"DATABASE_URL": "unused", **os.environ}
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ams-bench-")))
        started = stack.enter_context(serving(throwaway=True, environment=environment))
        servers = Servers(started.redis_url, started.kafka_bootstrap_servers)
        upstream = stack.enter_context(nginx.upstream(home / "upstream", "1", ANSWER_BYTES))
        base_url = f"http://127.0.0.1:{upstream.port}/"
        services = [Service(new_slug("bench"), base_url) for _ in range(arguments.services)]
        print(f"==> seeding {arguments.keys:,} keys and {arguments.services:,} services", flush=True)
        granted = [[service] for service in itertools.islice(itertools.cycle(services), arguments.keys)]
        keys = seed(servers.redis_url, services, granted)
        script = wrk.varied_heads(home / "varied.lua", keys[0], services[0].slug, (400, 600))
        held = [check_scaling(measure_scaling(servers, home, script, arguments.seconds))]
        calls = [(key, each.slug) for key, [each] in zip(keys, granted, strict=True)]
        script = wrk.many_keys(home / "many.lua", calls)
        with gateway(servers, home / "journal-memory", cores="0") as running:
            held.append(check_memory(running, script, arguments.requests, arguments.keys))
        if arguments.idle:
            # Longer than it takes to open them all, also on a slow machine.
            with gateway(servers, home / "journal-idle", GATEWAY_IDLE_TIMEOUT_S="600") as running:
                # Ours alone: a gateway raises its own.
                _raise_file_limit()
                held.append(check_idle_connections(running, keys[0], services[0].slug, arguments.idle))
    print("\n" + ("all hold" if all(held) else "NOT ALL HOLD"))
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
