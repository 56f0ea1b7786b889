"""Whether limits hold at ten times the limit: four workers' limiters on two gateways, before a real Redis.

    .venv/bin/python loadtests/bench/limits.py [--limit N] [--seconds S] [--outage S]

Each worker is a process of its own that asks for as many calls as its part of the load, evenly, and writes
down when one passed, by the clock that all processes of a machine share. With --outage Redis is killed after
a third of the time and comes back so many seconds later, without what it held. Redis is started here.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ams_common.ports import free_port
from ams_common.redis_client import connect, disconnect
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import LimitPolicy
from ams_local.redis import Redis

GATEWAYS, WORKERS_EACH, TIMES = 2, 2, 10
WINDOW_S, STEP_S = 60.0, 10


async def work(url: str, limit: int, seconds: float, path: Path) -> bytes:
    """One worker: its part of the load, in steps of a hundredth of a second. Returns when calls passed."""
    client = connect(url, retries=0)
    limiter = Limiter(client, workers_hint=WORKERS_EACH)
    await limiter.open()
    bucket = limiter.bucket(LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=limit))
    passed = array("d")
    longest_s = 0.0
    begin_s = time.monotonic()
    per_s = limit * TIMES / 60 / (GATEWAYS * WORKERS_EACH)

    async def one() -> None:
        nonlocal longest_s
        asked_s = time.monotonic()
        allowance = bucket.take() or await bucket.acquire()
        now_s = time.monotonic()
        longest_s = max(longest_s, now_s - asked_s)
        if allowance.allowed:
            passed.append(now_s)

    offered, waiting = 0, set[asyncio.Task[None]]()
    while (elapsed_s := time.monotonic() - begin_s) < seconds:
        while offered < elapsed_s * per_s:
            offered += 1
            task = asyncio.create_task(one())
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.sleep(0.01)
    await asyncio.gather(*waiting)
    await limiter.close()
    await disconnect(client)
    longest = f"longest wait {longest_s * 1e3:.0f} ms"
    print(f"  worker {path.name}: {offered} offered, {len(passed)} passed, {longest}")
    return passed.tobytes()


@contextmanager
def workers(url: str, limit: int, seconds: float, directory: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = []
    try:
        for number in range(GATEWAYS * WORKERS_EACH):
            arguments = ["--worker", url, "--limit", str(limit), "--seconds", str(seconds)]
            command = [sys.executable, __file__, *arguments, "--into", str(directory / str(number))]
            processes.append(subprocess.Popen(command, env=os.environ))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
            process.wait()


def table(times_s: list[float], begin_s: float, seconds: float, limit: int) -> int:
    """Prints the most that passed in any 60 s, by when they begin; returns the most of all."""
    worst = 0
    print("  60 s that begin at | had at most | limit")
    for step in range(0, int(seconds), STEP_S):
        from_s = begin_s + step
        # The most is had by an interval that begins with a call, or with the step.
        starts_s = [from_s, *times_s[bisect_left(times_s, from_s) : bisect_left(times_s, from_s + STEP_S)]]
        most = max(
            bisect_right(times_s, start_s + WINDOW_S) - bisect_left(times_s, start_s) for start_s in starts_s
        )
        worst = max(worst, most)
        more = "  MORE" if most > limit else ""
        print(f"  {step:>6} … {step + STEP_S:>3} s     | {most:>11} | {limit:>5}{more}")
    return worst


def run(limit: int, seconds: float, outage_s: float) -> bool:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        redis = Redis(directory, free_port(), throwaway=True)
        redis.launch()
        redis.wait()
        try:
            begin_s = time.monotonic()
            with workers(redis.url, limit, seconds, directory) as processes:
                if outage_s:
                    time.sleep(seconds / 3)
                    redis.stop()
                    time.sleep(outage_s)
                    redis.launch()
                for process in processes:
                    process.wait()
                failed = any(process.returncode for process in processes)
        finally:
            redis.stop()
        if failed:
            return False
        times_s: list[float] = []
        for number in range(GATEWAYS * WORKERS_EACH):
            times = array("d")
            times.frombytes((directory / str(number)).read_bytes())
            times_s += times
    times_s.sort()
    worst = table(times_s, begin_s, seconds, limit)
    turns = [after - before for before, after in zip(times_s, times_s[limit:], strict=False)]
    if turns and not outage_s:
        mean_s = sum(turns) / len(turns)
        print(f"  at steady load a call's place is free again after {mean_s:.2f} s: {60 / mean_s:.1%} pass")
    print(f"  passed {len(times_s)}; most in any 60 s {worst} of {limit}")
    return worst <= limit


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=600, help="calls a minute")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--outage", type=float, default=20, help="seconds without Redis, in the second run")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        options.into.write_bytes(
            asyncio.run(work(options.worker, options.limit, options.seconds, options.into))
        )
        return 0
    print(
        f"limit {options.limit} a minute, {TIMES} times as much offered, {options.seconds:.0f} s", flush=True
    )
    held = run(options.limit, options.seconds, 0)
    print(f"the same, Redis killed for {options.outage:.0f} s and back without its memory", flush=True)
    return 0 if run(options.limit, options.seconds, options.outage) and held else 1


if __name__ == "__main__":
    sys.exit(main())
