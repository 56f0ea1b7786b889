"""The gateway with everything on beside nginx as a plain reverse proxy: CPU per request and the ratio.

    .venv/bin/python loadtests/bench/gateway.py [--rounds N] [--seconds S]

The proxy under test has core 0 for itself; wrk, the upstream (nginx), Redis and Kafka share core 1.
Rounds are interleaved, since machines drift. POST, 512-byte body, 1 KiB answer, 64 connections. The
gateway validates from snapshots that came out of Redis, counts a rate limit in Redis, journals and
publishes to Kafka. REDIS_URL and KAFKA_BOOTSTRAP_SERVERS are used where they are set.
"""

import argparse
import contextlib
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams_common import apikeys, snapshots
from ams_common.ports import free_port
from ams_local.servers import serving

CONNECTIONS = 64
BODY_BYTES = 512
ANSWER_BYTES = 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

NGINX = """
master_process off; daemon off; worker_processes 1; error_log {home}/error.log crit; pid {home}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path {home}/1; proxy_temp_path {home}/2; fastcgi_temp_path {home}/3;
  uwsgi_temp_path {home}/4; scgi_temp_path {home}/5;
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; {body} }}
}}
"""
ANSWER = 'default_type application/json; location / {{ return 200 "{text}"; }}'
PROXY = 'location / { proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; }'

WRK = """
wrk.method = "POST"
wrk.body = string.rep("x", {body_bytes})
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {secret}"
wrk.headers["X-AMS-Service"] = "bench"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Figures:
    """What was measured of one program in one round."""

    requests_per_s: float
    p99_ms: float
    cpu_us_per_request: float
    errors: int


@dataclass(frozen=True)
class Proxy:
    name: str
    url: str
    pid: int


def require_tools() -> None:
    missing = [tool for tool in ("nginx", "wrk", "taskset") if shutil.which(tool) is None]
    if not missing:
        return
    packages = ["nginx-light" if tool == "nginx" else tool for tool in missing if tool != "taskset"]
    packages += ["util-linux"] if "taskset" in missing else []
    install = ["apt-get", "install", "-y", "-qq", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"bench needs {', '.join(missing)}: sudo {' '.join(install)}")
    print(f"==> installing {' '.join(packages)}")
    subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def running(command: list[str], core: int, port: int, environ: dict[str, str] | None = None) -> Iterator[int]:
    """The process id, once the port is open."""
    process = subprocess.Popen(["taskset", "-c", str(core), *command], env=environ)
    try:
        deadline_s = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline_s:
                sys.exit(f"bench: {command[0]} did not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def nginx(home: Path, name: str, core: int, body: str, upstream: int = 1) -> Iterator[tuple[int, int]]:
    """Process id and port of an nginx with one process."""
    directory = home / name
    directory.mkdir()
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX.format(home=directory, port=port, body=body, upstream=upstream))
    with running(["nginx", "-c", str(configuration), "-p", str(directory)], core, port) as pid:
        yield pid, port


@contextlib.contextmanager
def gateway(home: Path, redis_url: str, kafka: str, core: int) -> Iterator[tuple[int, int]]:
    port = free_port()
    environ = os.environ | {
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "KEYS_ADDRESS": "127.0.0.1:1",
        "CATALOG_ADDRESS": "127.0.0.1:1",
        "GATEWAY_JOURNAL_DIR": str(home / "journal"),
        "GATEWAY_ALLOW_PRIVATE_UPSTREAMS": "true",
        "KAFKA_TOPIC_PREFIX": f"bench.{secrets.token_hex(4)}.",
        "LOG_LEVEL": "ERROR",
    }
    with running([sys.executable, "-m", "ams_gateway"], core, port, environ) as pid:
        yield pid, port


def seed(redis_url: str, upstream: int) -> str:
    """Snapshots of one key and one service; the key."""
    key = apikeys.generate()
    key_snapshot = keys.KeySnapshot(
        key_id=secrets.token_hex(16),
        consumer_id=secrets.token_hex(16),
        key_prefix=key.prefix,
        service_ids=["bench-service"],
        status=keys.KEY_ACTIVE,
        consumer_standing=identity.STANDING_ACTIVE,
    )
    key_snapshot.expires_at.FromSeconds(int(time.time()) + 3600)
    service_snapshot = catalog.ServiceSnapshot(
        service_id="bench-service",
        slug="bench",
        merchant_id=secrets.token_hex(16),
        status=catalog.ACTIVE,
        merchant_standing=identity.STANDING_ACTIVE,
        base_url=f"http://127.0.0.1:{upstream}/",
        rate_limit_per_minute=1_000_000_000,
        price_version_id=secrets.token_hex(16),
    )
    with redis.Redis.from_url(redis_url) as client:
        client.set(snapshots.key_snapshot_key(key.sha256), key_snapshot.SerializeToString(), ex=3600)
        for name in ("bench", "bench-service"):
            client.set(snapshots.service_snapshot_key(name), service_snapshot.SerializeToString(), ex=3600)
    return key.secret


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure(proxy: Proxy, script: Path, seconds: float) -> Figures:
    before_s = cpu_s(proxy.pid)
    duration = f"{max(1, round(seconds))}s"
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration}", "-s", str(script)]
    output = subprocess.run([*command, proxy.url], check=True, capture_output=True, text=True).stdout
    used_s = cpu_s(proxy.pid) - before_s
    result = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", output)
    if result is None:
        sys.exit(f"bench: wrk said\n{output}")
    requests, duration_us, p99_us, errors = map(int, result.groups())
    return Figures(requests / duration_us * 1e6, p99_us / 1000, used_s / requests * 1e6, errors)


def unacknowledged(port: int) -> int:
    """Events of the gateway that Kafka hasn't acknowledged after ten seconds at most."""
    left = -1
    for _ in range(100):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        found = re.search(r"^ams_gateway_events_unacknowledged (\d+)", text, re.MULTILINE)
        left = int(found.group(1)) if found else -1
        if left == 0:
            break
        time.sleep(0.1)
    return left


def report(rounds: dict[str, list[Figures]]) -> None:
    """Medians of the rounds; and the ratio of the least CPU, since others on the machine only add to it."""
    columns = f"{'req/s':>10}{'p99 ms':>10}{'CPU µs/request':>18}{'× nginx':>10}{'(least)':>10}{'errors':>8}"
    print(f"\n{'':10}{columns}")
    plain = [each.cpu_us_per_request for each in rounds["nginx"]]
    for name, figures in rounds.items():
        cpu_us = [each.cpu_us_per_request for each in figures]
        rate = statistics.median(each.requests_per_s for each in figures)
        p99_ms = statistics.median(each.p99_ms for each in figures)
        ratio, best = statistics.median(cpu_us) / statistics.median(plain), min(cpu_us) / min(plain)
        errors = sum(each.errors for each in figures)
        print(
            f"{name:10}{rate:>10,.0f}{p99_ms:>10.1f}{statistics.median(cpu_us):>18.1f}"
            f"{ratio:>10.2f}{best:>10.2f}{errors:>8}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    require_tools()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench needs two cores")
    # Everything that is started from here on inherits core 1, the proxies are put on core 0.
    os.sched_setaffinity(0, {1})
    print("==> starting Redis and Kafka")
    # No PostgreSQL is needed.
    environment = {"DATABASE_URL": "unused", **os.environ}
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ams-bench-")))
        servers = stack.enter_context(serving(throwaway=True, environment=environment))
        answer = ANSWER.format(text="x" * ANSWER_BYTES)
        _, upstream = stack.enter_context(nginx(home, "upstream", 1, answer))
        plain_pid, plain = stack.enter_context(nginx(home, "plain", 0, PROXY, upstream))
        pid, port = stack.enter_context(gateway(home, servers.redis_url, servers.kafka_bootstrap_servers, 0))
        script = home / "wrk.lua"
        script.write_text(WRK.format(body_bytes=BODY_BYTES, secret=seed(servers.redis_url, upstream)))
        proxies = [
            Proxy("nginx", f"http://127.0.0.1:{plain}/api/consume", plain_pid),
            Proxy("gateway", f"http://127.0.0.1:{port}/api/consume", pid),
        ]
        rounds: dict[str, list[Figures]] = {proxy.name: [] for proxy in proxies}
        for proxy in proxies:
            measure(proxy, script, 2)
        for number in range(arguments.rounds):
            for proxy in proxies:
                figures = measure(proxy, script, arguments.seconds)
                rounds[proxy.name].append(figures)
                print(f"round {number + 1}  {proxy.name:8} {figures.cpu_us_per_request:7.1f} µs/request")
        report(rounds)
        print(f"\nusage events not yet acknowledged by Kafka: {unacknowledged(port)}")


if __name__ == "__main__":
    main()
