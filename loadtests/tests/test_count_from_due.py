"""A server that stalls is seen to stall by everybody who would have asked meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from ams_local.paths import project_root

from loadtests.load.stage import Run, Stage

STALL_S = 2.5


class Stalling(BaseHTTPRequestHandler):
    """Answers nobody until a while after the first request, then everybody at once."""

    opens_s: float | None = None

    def do_GET(self) -> None:
        if Stalling.opens_s is None:
            Stalling.opens_s = time.monotonic() + STALL_S
        time.sleep(max(0.0, Stalling.opens_s - time.monotonic()))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def stalling() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_a_stall_held_up_counts_from_when_it_was_due() -> None:
    """One request a second by each user for five: three are late, though only the first was sent early."""
    with stalling() as url:
        stage = Stage(url, url, "", "", [], [], page_size=10, second_page_token="")
        told = {"stage": asdict(stage), "runs": [asdict(Run("Collection", 40, 5))]}
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.load.generator"],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            cwd=project_root(),
            timeout=60,
            check=True,
        )
    [row] = json.loads(done.stdout)["rows"]
    assert row["failures"] == 0
    assert row["p50_ms"] > 200
