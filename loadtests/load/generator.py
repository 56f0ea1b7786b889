"""The load generator: reads a stage and runs as JSON from its input, writes results to its output.

A process of its own, because locust patches the standard library (gevent) of the one that it
is in; `time.sleep` here lets the users work.
"""

import json
import sys
import time
from dataclasses import asdict
from urllib.parse import urlsplit

from locust.env import Environment

from loadtests.load.scenarios import SCENARIOS, USERS
from loadtests.load.stage import Results, Row, Run, Stage


def main() -> None:
    told = json.load(sys.stdin)
    stage = Stage(**told["stage"])
    for url in (stage.rest_url, stage.gateway_url):
        if urlsplit(url).hostname != "127.0.0.1":
            sys.exit(f"the load stays on this machine, and {url} is elsewhere")
    results = [measure(stage, Run(**run)) for run in told["runs"]]
    everything = Results(
        rows=[row for result in results for row in result.rows],
        forwarded=sum(result.forwarded for result in results),
        complaints=[line for result in results for line in result.complaints],
    )
    json.dump(asdict(everything), sys.stdout)


def measure(stage: Stage, run: Run) -> Results:
    """Sends for the run's time; the answers that are still due when it ends are waited for."""
    user = SCENARIOS[run.scenario]
    user.prepare(stage, run.requests_per_s)
    environment = Environment(user_classes=[user], stop_timeout=30)
    runner = environment.create_local_runner()
    runner.start(USERS, spawn_rate=USERS)
    time.sleep(run.seconds)
    runner.stop()
    runner.greenlet.kill(block=True)
    names = dict.fromkeys(answer.row for answer in user.answers)
    rows = [
        Row.of(name, [answer for answer in user.answers if answer.row == name], run.seconds) for name in names
    ]
    complaints = [f"{error.occurrences} × {error.error}" for error in runner.errors.values()]
    complaints += [f"{one['count']} × {one['msg']}" for one in runner.exceptions.values()]
    return Results(rows, user.forwarded, complaints)


if __name__ == "__main__":
    main()
