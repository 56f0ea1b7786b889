"""`make fuzz`: whatever bytes come in, the gateway answers HTTP or closes, and forwards only whole requests.

    python -m loadtests.proofs.fuzz [--seconds S] [--seed N]

Cases of loadtests/proofs/grammar.py go to both entries; an upstream that reads as strictly as the RFCs
allow numbers what reaches it, and sends the number back. Held to:
- what a client receives is a sequence of valid answers to its own requests, and nothing else;
- what the upstream receives is well-formed, and each whole request there was answered to one client, the one
  that had sent it, exactly once. Of a client that sends what isn't HTTP behind a good request, the gateway
  may hang up before that is answered: those are counted;
- afterwards either gateway still answers, in the same process, with no more than 64 MB more memory.
Exits with 1 when something doesn't hold, and shows the bytes that did it.
"""

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ams_local.execution import end_on_signals
from ams_local.servers import serving

from loadtests.proofs.grammar import Case, draw_case
from loadtests.proofs.raw_http import MalformedError, read_request, read_response
from loadtests.proofs.strict_upstream import StrictUpstream
from loadtests.support.gateway import Gateway, Servers, gateway
from loadtests.support.seeds import Service, new_slug, seed

AT_A_TIME = 32
# The gateway hangs up on who is silent for this long; a case that waits longer than the other is a fault.
GATEWAY_TIMEOUT_S = "0.5"
CASE_TIMEOUT_S = 8.0
MOST_GROWTH_BYTES = 64_000_000
# Each of them is shown with its case.
MOST_FAULTS = 20


@dataclass
class Findings:
    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    # How often the answer to each of the upstream's requests came to a client.
    delivered: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    # Names of cases of which a strict reader takes every byte: all that is forwarded of them is answered.
    well_formed: set[str] = field(default_factory=set)
    # Those of which something was not answered when their connection ended, to be shown with what was.
    suspects: dict[str, str] = field(default_factory=dict)
    cut_off: int = 0

    def add_fault(self, what: str, case: Case) -> None:
        self.faults.append(f"{what}\n      {_shown(case)}")


def _shown(case: Case) -> str:
    return f"{case.name}: {case.data[:600]!r} … {len(case.data)} bytes, cut at {case.cuts}"


class StillOpenError(Exception):
    """The gateway neither goes on nor hangs up."""


async def try_case(port: int, case: Case, upstream: StrictUpstream, findings: Findings) -> None:
    findings.cases += 1
    if is_well_formed(case.data):
        findings.well_formed.add(case.name)
    try:
        received = await _exchange(port, case)
    except ConnectionRefusedError:
        findings.add_fault("the gateway is gone", case)
        return
    except StillOpenError as error:
        findings.add_fault(f"no close within {CASE_TIMEOUT_S} s, and {error} received", case)
        return
    try:
        judge(received, case, findings)
        if any(not findings.delivered[number] for number in upstream.numbers.get(case.name, ())):
            findings.suspects[case.name] = f"{_shown(case)}\n      received: {received[:600]!r}"
    except MalformedError as error:
        findings.add_fault(f"a malformed answer: {error}: {received[:300]!r}", case)


async def _exchange(port: int, case: Case) -> bytes:
    """All that comes until the gateway closes. On bare sockets: a stream of asyncio forgets what has arrived
    once a write has failed, and a gateway may well hang up on what it needn't read."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))

        async def send() -> None:
            begin = 0
            for end in (*case.cuts, len(case.data)):
                await loop.sock_sendall(connection, case.data[begin:end])
                await asyncio.sleep(0)
                begin = end

        sending = asyncio.create_task(send())
        received = b""
        try:
            async with asyncio.timeout(CASE_TIMEOUT_S):
                while piece := await loop.sock_recv(connection, 65536):
                    received += piece
        except TimeoutError:
            state = "sent" if sending.done() else "not yet sent"
            raise StillOpenError(f"with the case {state} {received[:200]!r}") from None
        except ConnectionError:
            pass  # a reset: the gateway has closed with bytes of ours unread
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    return received


def is_well_formed(data: bytes) -> bool:
    """Whether the bytes are whole requests and nothing else."""
    try:
        while data:
            if (request := read_request(data)) is None:
                return False
            data = data[request.size :]
    except MalformedError:
        return False
    return True


def judge(received: bytes, case: Case, findings: Findings) -> None:
    """Every answer is valid, and this case's own."""
    while received:
        answer = read_response(received, at_end=True)
        if answer is None:
            raise MalformedError("an answer was cut off")
        received = received[answer.size :]
        findings.statuses[answer.status] += 1
        if number := answer.value(b"x-number"):
            findings.delivered[int(number)] += 1
            if answer.body != number:
                findings.add_fault(f"the answer {number!r} has the body {answer.body[:40]!r}", case)
            # The case's name may itself have been damaged; another's whole name isn't that.
            if (named := answer.value(b"x-case")) and named not in case.data:
                findings.add_fault(f"the answer to {named!r}", case)


def compare(upstream: StrictUpstream, findings: Findings) -> list[str]:
    """Each whole request at the upstream was answered to one client once."""
    lines = [f"malformed at the upstream: {text}" for text in upstream.malformed]
    for number, case in upstream.cases.items():
        times = findings.delivered[number]
        if times == 0 and case not in findings.well_formed:
            findings.cut_off += 1
        elif times != 1:
            lines.append(f"request {number} at the upstream, of {case!r}, was answered to {times} clients")
            if (suspect := findings.suspects.get(case)) is not None:
                lines[-1] += f"\n      {suspect}"
    lines += [f"answer {number} of no request" for number in set(findings.delivered) - set(upstream.cases)]
    return lines


async def fuzz(
    ports: list[int], upstream: StrictUpstream, key: str, slug: str, *, seconds: float, seed_number: int
) -> Findings:
    findings = Findings()
    end_s = time.monotonic() + seconds

    async def try_on(worker: int) -> None:
        chosen = random.Random(seed_number * 1000 + worker)
        number = 0
        while time.monotonic() < end_s and len(findings.faults) < MOST_FAULTS:
            case = draw_case(chosen, f"case-{worker}-{number}-", key, slug)
            number += 1
            await try_case(ports[number % len(ports)], case, upstream, findings)

    await asyncio.gather(*(try_on(worker) for worker in range(AT_A_TIME)))
    return findings


async def run(
    servers: Servers, home: Path, *, seconds: float, seed_number: int
) -> tuple[Findings, list[str]]:
    """What was found, and what doesn't hold."""
    upstream = StrictUpstream()
    async with contextlib.AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(upstream.serving())
        service = Service(new_slug("fuzz"), base_url)
        [key] = seed(servers.redis_url, [service], [[service]])
        gateways = [
            stack.enter_context(_impatient_gateway(servers, home, consume_protocol=entry))
            for entry in (True, False)
        ]
        ports = [each.port for each in gateways]
        # Whatever is allocated once is there before memory is looked at.
        await fuzz(
            ports, upstream, key, slug=service.slug, seconds=min(2, seconds), seed_number=seed_number + 1
        )
        before_bytes = [each.rss_bytes() for each in gateways]
        upstream.cases.clear()
        upstream.numbers.clear()
        upstream.malformed.clear()
        findings = await fuzz(ports, upstream, key, service.slug, seconds=seconds, seed_number=seed_number)
        failed = findings.faults + compare(upstream, findings)
        for each, rss_bytes in zip(gateways, before_bytes, strict=True):
            failed += await _survived(each, rss_bytes, key, service.slug)
    return findings, failed


def _impatient_gateway(
    servers: Servers, home: Path, *, consume_protocol: bool
) -> contextlib.AbstractContextManager[Gateway]:
    return gateway(
        servers,
        home / f"journal-{consume_protocol}",
        consume_protocol=consume_protocol,
        GATEWAY_HEAD_TIMEOUT_S=GATEWAY_TIMEOUT_S,
        GATEWAY_BODY_TIMEOUT_S=GATEWAY_TIMEOUT_S,
        GATEWAY_WRITE_TIMEOUT_S=GATEWAY_TIMEOUT_S,
        GATEWAY_IDLE_TIMEOUT_S=GATEWAY_TIMEOUT_S,
    )


async def _survived(running: Gateway, before_bytes: int, key: str, slug: str) -> list[str]:
    request = (
        f"POST /api/consume HTTP/1.1\r\nHost: x\r\nX-AMS-Service: {slug}\r\nX-API-Key: {key}\r\n"
        "X-Case: last\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    try:
        received = await _exchange(running.port, Case("last", request.encode(), ()))
    except OSError as error:
        return [f"the gateway doesn't answer any more: {error}; its log: {running.log}"]
    lines = [] if received.startswith(b"HTTP/1.1 200 ") else [f"a good call gets {received[:100]!r}"]
    if (growth_bytes := running.rss_bytes() - before_bytes) > MOST_GROWTH_BYTES:
        lines.append(f"the gateway has grown by {growth_bytes / 1e6:.0f} MB")
    # aiokafka calls it an error that a topic is yet to be made.
    log = running.log.read_text(errors="replace").splitlines()
    errors = [line for line in log if '"level": "error"' in line and '"logger": "aiokafka' not in line]
    return [*lines, *([f"the gateway logged {len(errors)} errors, as {errors[0][-700:]}"] if errors else [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    end_on_signals()
    print(f"seed {options.seed}", flush=True)
    environment = {"DATABASE_URL": "unused", **os.environ}
    with (
        tempfile.TemporaryDirectory(prefix="ams-fuzz-") as home,
        serving(throwaway=True, environment=environment) as started,
    ):
        servers = Servers(started.redis_url, started.kafka_bootstrap_servers)
        findings, failed = asyncio.run(
            run(servers, Path(home), seconds=options.seconds, seed_number=options.seed)
        )
    answers = dict(sorted(findings.statuses.items()))
    print(
        f"{findings.cases:,} cases, {len(findings.well_formed):,} of them well-formed; answers {answers};"
        f" {findings.delivered.total():,} forwarded and answered, {findings.cut_off:,} cut off"
    )
    for line in failed[:MOST_FAULTS]:
        print(f"  FAILED: {line}")
    print(f"{len(failed)} faults" if failed else "no fault")
    sys.exit(1 if failed or not findings.delivered else 0)


if __name__ == "__main__":
    main()
