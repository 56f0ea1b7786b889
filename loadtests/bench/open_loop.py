"""`make bench-open-loop`: what a gateway adds to an answer's time at 1,000 requests a second.

    python -m loadtests.bench.open_loop [--rate N] [--rounds N] [--seconds S] [--before COMMIT]

Beside no proxy at all, nginx, nginx + Lua with the same policy and a commit before; the proxy has core 0 for
itself, client, upstream, Redis and Kafka share core 1. Times count from when a request was due (see
loadtests/support/open_loop.py), each request has a head of its own, rounds are interleaved. Also prints the
longest stall of the gateway's event loop, where it exports ams_gateway_loop_stall_seconds. Exits with 1 when
a call failed.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from ams_local.servers import serving

from loadtests.support import nginx
from loadtests.support.gateway import BEFORE, Servers, checked_out, gateway
from loadtests.support.open_loop import Latencies, Plan
from loadtests.support.processes import require_cores, require_tools
from loadtests.support.seeds import UNREACHED_PER_MINUTE, Service, new_slug, seed

ANSWER_BYTES = 1024
HEADS = 5_000
WARM_UP_S = 2
# Of the commit before's p50, and of nginx + Lua's p99.
P50_AIM, P99_AIM = 0.65, 1.5


def heads(secret: str, slug: str) -> list[str]:
    """Requests that differ in trace id, length and an id of the client's own."""
    chosen = random.Random(1)
    return [
        "POST /api/consume HTTP/1.1\r\nHost: gateway.example\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {secret}\r\nX-AMS-Service: {slug}\r\n"
        f"Traceparent: 00-{chosen.getrandbits(128):032x}-{chosen.getrandbits(64):016x}-01\r\n"
        f"X-Correlation-Id: {chosen.getrandbits(128):032x}\r\n"
        f"Content-Length: {length}\r\n\r\n{'x' * length}"
        for length in (chosen.randint(400, 600) for _ in range(HEADS))
    ]


def send(plan: Plan) -> Latencies:
    """From a process of its own, on the core that this one is bound to."""
    command = [sys.executable, "-m", "loadtests.support.open_loop"]
    done = subprocess.run(
        command, input=json.dumps(asdict(plan)), stdout=subprocess.PIPE, text=True, check=True
    )
    return Latencies(**json.loads(done.stdout))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def table(measured: dict[str, Latencies]) -> str:
    lines = [
        f"{'':14}{'answers':>9}{'p50 ms':>9}{'p99':>8}{'p99.9':>8}{'max':>8}{'client p99':>12}{'failed':>8}"
    ]
    for name, found in measured.items():
        times = [percentile(found.from_due_ms, share) for share in (0.5, 0.99, 0.999, 1)]
        shown = f"{times[0]:>9.3f}" + "".join(f"{each:>8.2f}" for each in times[1:])
        late = percentile(found.late_ms, 0.99)
        lines.append(f"{name:14}{len(found.from_due_ms):>9,}{shown}{late:>12.2f}{found.failures:>8}")
    now = measured["now"].from_due_ms
    p50 = percentile(now, 0.5) / percentile(measured["before"].from_due_ms, 0.5)
    p99 = percentile(now, 0.99) / percentile(measured["nginx + Lua"].from_due_ms, 0.99)
    lines.append(
        f"  aim: p50 at most {P50_AIM} × before: {p50:.2f}, {'reached' if p50 <= P50_AIM else 'MISSED'}"
    )
    lines.append(
        f"  aim: p99 at most {P99_AIM} × nginx + Lua: {p99:.2f}, {'reached' if p99 <= P99_AIM else 'MISSED'}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000, help="requests per second")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4, help="of each in a round")
    parser.add_argument("--before", default=BEFORE, help="the commit to hold this one against")
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
        service = Service(new_slug("bench"), f"http://127.0.0.1:{upstream.port}/")
        [secret] = seed(servers.redis_url, [service], [[service]])
        plain = stack.enter_context(nginx.plain_proxy(home / "plain", "0", upstream))
        lua = stack.enter_context(
            nginx.lua_gateway(
                home / "lua", "0", upstream, secret=secret, slug=service.slug, limit=UNREACHED_PER_MINUTE
            )
        )
        sources = checked_out(arguments.before, home / "before")
        before = stack.enter_context(gateway(servers, home / "journal-before", cores="0", sources=sources))
        now = stack.enter_context(gateway(servers, home / "journal-now", cores="0"))
        ports = {
            "direct": upstream.port,
            "nginx": plain.port,
            "nginx + Lua": lua.port,
            "before": before.port,
            "now": now.port,
        }
        requests = heads(secret, service.slug)
        for name, port in ports.items():
            # The first requests may come before a gateway has all its connections.
            if (warm := send(Plan(port, requests, arguments.rate, WARM_UP_S))).failures > arguments.rate:
                sys.exit(f"{name} answers {warm.failures} of its first requests with no 200")
        measured = {name: Latencies([], [], 0) for name in ports}
        for number in range(arguments.rounds):
            for name, port in ports.items():
                one = send(Plan(port, requests, arguments.rate, arguments.seconds))
                all_of = measured[name]
                measured[name] = Latencies(
                    all_of.from_due_ms + one.from_due_ms,
                    all_of.late_ms + one.late_ms,
                    all_of.failures + one.failures,
                )
                print(
                    f"round {number + 1}  {name:12} p50 {percentile(one.from_due_ms, 0.5):.3f} ms", flush=True
                )
        print(f"\nat {arguments.rate:,.0f} requests/s\n{table(measured)}")
        stall_s = now.metric("ams_gateway_loop_stall_seconds")
        print(
            "  the event loop's longest stall: "
            + ("not exported" if stall_s is None else f"{stall_s * 1000:.1f} ms")
        )
    sys.exit(1 if any(found.failures for found in measured.values()) else 0)


if __name__ == "__main__":
    main()
