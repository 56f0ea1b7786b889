"""`make bench`: what a consume request costs beside nginx, nginx + Lua with the same policy, a commit before.

    python -m loadtests.bench.gateway [--rounds N] [--seconds S] [--before COMMIT] [--profile]

The proxy under test has core 0 for itself; wrk, the upstream (nginx), Redis and Kafka share core 1. Rounds
are interleaved, since machines drift. POST, about 512 bytes of body, 1 KiB of answer, 64 connections. Each
proxy is measured with clients that repeat their head, and with clients whose heads differ per request. The
gateways serve from snapshots that came out of Redis, count a rate limit, journal and publish to Kafka; this
one is also measured for a service with a credential and signed calls, and with a journal that is synced to
the disk (GATEWAY_JOURNAL_SYNC). REDIS_URL and KAFKA_BOOTSTRAP_SERVERS are used where they are set. Exits with
1 when a call failed.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ams_local.servers import serving

from loadtests.bench.figures import Figures, report
from loadtests.support import nginx, wrk
from loadtests.support.gateway import BEFORE, Gateway, Servers, checked_out, gateway
from loadtests.support.processes import Program, cpu_s, require_cores, require_tools
from loadtests.support.profiles import profiled
from loadtests.support.seeds import UNREACHED_PER_MINUTE, Service, new_slug, redis_pid, seed

BODY_BYTES = 512
VARIED_BODY_BYTES = (400, 600)
ANSWER_BYTES = 1024
WARM_UP_S = 2
# How long a group gathers where the journal is synced.
SYNC_MS = "2"


@dataclass(frozen=True)
class Subject:
    """A proxy under measurement."""

    name: str
    program: Program
    # Whether the service that is called has a credential and signed calls.
    is_signed: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.program.port}/api/consume"


def measure(subject: Subject, script: Path, seconds: float, redis: int) -> Figures:
    before_s, redis_before_s = subject.program.cpu_s(), cpu_s(redis)
    outcome = wrk.wrk(subject.url, script, seconds)
    used_s, redis_s = subject.program.cpu_s() - before_s, cpu_s(redis) - redis_before_s
    return Figures(
        outcome.requests_per_s,
        outcome.p50_ms,
        outcome.p99_ms,
        used_s / outcome.requests * 1e6,
        redis_s / outcome.requests * 1e6,
        outcome.errors,
    )


def await_leases(gateway: Gateway) -> None:
    """Until limits are leased. A commit that doesn't say is taken as it is."""
    deadline_s = time.monotonic() + 90
    while gateway.metric("ams_gateway_redis_up") == 0 and time.monotonic() < deadline_s:
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each proxy and kind of head in a round")
    parser.add_argument("--before", default=BEFORE, help="the commit to hold this one against")
    parser.add_argument("--profile", action="store_true", help="also show where the gateway's time goes")
    arguments = parser.parse_args()
    require_tools()
    require_cores(2)
    # Everything that is started from here on inherits core 1, the proxies are put on core 0.
    os.sched_setaffinity(0, {1})
    print("==> starting Redis and Kafka", flush=True)
    # No PostgreSQL is needed.
    environment = {"DATABASE_URL": "unused", **os.environ}
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ams-bench-")))
        started = stack.enter_context(serving(throwaway=True, environment=environment))
        servers = Servers(started.redis_url, started.kafka_bootstrap_servers)
        upstream = stack.enter_context(nginx.upstream(home / "upstream", "1", ANSWER_BYTES))
        service = Service(new_slug("bench"), f"http://127.0.0.1:{upstream.port}/")
        signed = Service(new_slug("signed"), service.base_url, credential="let AMS in")
        [secret] = seed(servers.redis_url, [service, signed], [[service, signed]])
        redis = redis_pid(servers.redis_url)

        plain = stack.enter_context(nginx.plain_proxy(home / "plain", "0", upstream))
        lua = stack.enter_context(
            nginx.lua_gateway(
                home / "lua", "0", upstream, secret=secret, slug=service.slug, limit=UNREACHED_PER_MINUTE
            )
        )
        sources = checked_out(arguments.before, home / "before")

        def started_gateway(
            name: str, of: Path | None = None, *, protocol: bool = True, sync: str = "off"
        ) -> Gateway:
            return stack.enter_context(
                gateway(
                    servers,
                    home / f"journal-{name}",
                    cores="0",
                    sources=of,
                    consume_protocol=protocol,
                    GATEWAY_JOURNAL_SYNC=sync,
                )
            )

        now, now_asgi = started_gateway("now"), started_gateway("asgi", protocol=False)
        synced = started_gateway("synced", sync=SYNC_MS)
        subjects = [
            Subject("nginx", plain),
            Subject("nginx + Lua", lua),
            Subject("before", started_gateway("before", sources)),
            Subject("before, ASGI", started_gateway("before-asgi", sources, protocol=False)),
            Subject("now", now),
            Subject("now, signed", now, is_signed=True),
            Subject("now, synced", synced),
            Subject("now, ASGI", now_asgi),
        ]
        # By the kind of heads, and whether calls are signed.
        scripts = {}
        for is_signed, slug in ((False, service.slug), (True, signed.slug)):
            repeated, varied = home / f"repeated-{is_signed}.lua", home / f"varied-{is_signed}.lua"
            scripts["repeated", is_signed] = wrk.repeated_heads(repeated, secret, slug, BODY_BYTES)
            scripts["varied", is_signed] = wrk.varied_heads(varied, secret, slug, VARIED_BODY_BYTES)
        for subject in subjects:
            script = scripts["repeated", subject.is_signed]
            if measure(subject, script, WARM_UP_S, redis).errors:
                sys.exit(f"{subject.name} answers calls with errors")
        # A Redis that has just begun may have lost its counts: for a minute it counts as away.
        for gateway_now in (now, synced, now_asgi):
            await_leases(gateway_now)
        rounds: dict[tuple[str, str], list[Figures]] = {}
        for number in range(arguments.rounds):
            for heads in ("repeated", "varied"):
                for subject in subjects:
                    script = scripts[heads, subject.is_signed]
                    figures = measure(subject, script, arguments.seconds, redis)
                    rounds.setdefault((heads, subject.name), []).append(figures)
                    cost = f"{figures.cpu_us:7.1f} µs + {figures.redis_us:4.1f} in Redis"
                    print(f"round {number + 1}  {heads:9} {subject.name:13} {cost}", flush=True)
        print(report(rounds))
        left = {"now": now.unacknowledged(), "now, ASGI": now_asgi.unacknowledged()}
        print(f"\nusage events not yet acknowledged by Kafka: {left}")
        if arguments.profile:
            with profiled("the gateway", now.processes()):
                wrk.wrk(f"{now.url}/api/consume", scripts["varied", False], arguments.seconds)
    sys.exit(1 if any(each.errors for row in rounds.values() for each in row) else 0)


if __name__ == "__main__":
    main()
