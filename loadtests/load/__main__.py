"""`make load`: the whole system on throwaway data, under the load of the PRD's NFR1 and NFR2.

    .venv/bin/python -m loadtests.load [--seconds S] [--consume RATE] [--item RATE] [--collection RATE]

Prints the percentiles beside the targets. Exits with 1 when a target is missed, an answer is not the
expected one, a kind of denial that was provoked didn't come, or the usage that is counted afterwards
isn't the number of forwarded requests.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

import aiohttp
from ams_local.daemons import die_with_parent
from ams_local.execution import end_on_signals
from ams_local.guide import say
from ams_local.keyring import Keyring
from ams_local.system import System

from loadtests.load.figures import Target, table
from loadtests.load.market import Market
from loadtests.load.stage import Results, Row, Run, Stage
from loadtests.load.system import running

COUNTED_TIMEOUT_S = 30


def main() -> None:
    arguments = _parser().parse_args()
    end_on_signals()
    # NFR1. For the gateway the PRD has no figure of its own: it is held to that of a single item.
    targets = [
        Target("consume", arguments.consume, 95, 200, frozenset({200, 401, 403, 429})),
        Target("single item", arguments.item, 95, 200),
        Target("collection", arguments.collection, 90, 500),
    ]
    scenarios = ("ConsumeMix", "SingleItem", "Collection")
    runs = [
        Run(scenario, target.requests_per_s, arguments.seconds)
        for scenario, target in zip(scenarios, targets, strict=True)
    ]
    # Others who use the machine slow the answers: the figures mean little without this one.
    say(
        f"{os.cpu_count()} cores, and a load average of {os.getloadavg()[0]:.1f} before anything of ours runs"
    )
    say("starting the whole system on throwaway data")
    with running() as (system, keyring):
        results, counted = asyncio.run(load(system, keyring, runs))
    text, met = table(results, targets)
    exact = counted == results.forwarded
    print(f"\n{text}\n\nforwarded {results.forwarded:,}, counted as usage {counted:,}: ", end="")
    print("ok" if exact else "NOT THE SAME")
    sys.exit(0 if met and exact and not results.complaints else 1)


async def load(system: System, keyring: Keyring, runs: Sequence[Run]) -> tuple[Results, int]:
    """What was measured, and how many requests were counted as usage."""
    async with aiohttp.ClientSession() as http:
        market = Market(http, system, keyring)
        stage = await market.fill()
        say(f"sending for {len(runs)} × {runs[0].seconds:.0f} s")
        results = await asyncio.to_thread(generate, stage, runs)
        return results, await market.await_count(results.forwarded, COUNTED_TIMEOUT_S)


def generate(stage: Stage, runs: Sequence[Run]) -> Results:
    """Sends the load, from a process of its own."""
    told = json.dumps({"stage": asdict(stage), "runs": [asdict(run) for run in runs]})
    command = [*die_with_parent(), sys.executable, "-m", "loadtests.load.generator"]
    time_s = sum(run.seconds for run in runs) + 60
    done = subprocess.run(command, input=told, stdout=subprocess.PIPE, text=True, check=True, timeout=time_s)
    results = json.loads(done.stdout)
    return Results([Row(**row) for row in results["rows"]], results["forwarded"], results["complaints"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.load", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=_within(1, 120), default=12, help="of each scenario")
    parser.add_argument("--consume", type=_within(1, 2000), default=200, help="requests per second")
    parser.add_argument("--item", type=_within(1, 2000), default=100, help="requests per second")
    parser.add_argument("--collection", type=_within(1, 2000), default=50, help="requests per second")
    return parser


def _within(least: float, most: float) -> Callable[[str], float]:
    """A parser of bounded numbers: nobody starts an endless load by a slip of the finger."""

    def parse(text: str) -> float:
        number = float(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must lie between {least} and {most}")
        return number

    return parse


if __name__ == "__main__":
    main()
