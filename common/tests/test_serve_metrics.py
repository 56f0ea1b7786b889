"""Metrics of a process with two workers: real processes, scraped over HTTP."""

import subprocess
import sys
import urllib.request

from ams_common.ports import free_port

_WORKER = """
from ams_common import metrics
metrics.counter("ams_tests", "Counts.", "kind").labels("good").inc(3)
metrics.gauge("ams_depth", "Depth.", over_workers="livesum").set(2)
print("counted", flush=True)
input()
"""
_PARENT = f"""
import subprocess, sys
from ams_common import metrics
metrics.share_among_workers()
metrics.serve(sys.argv[1])
command = [sys.executable, "-c", {_WORKER!r}]
pipe = subprocess.PIPE
one, two = (subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(2))
with one, two:
    one.stdout.readline(), two.stdout.readline()
    print("ready", flush=True)
    input()
    one.kill(), one.wait()
    print("killed", flush=True)
    input()
    two.communicate(b"end")
"""


def test_a_scrape_sees_all_workers() -> None:
    port = free_port()
    command = [sys.executable, "-c", _PARENT, f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        text = scrape(port)
        assert process.stdin is not None
        print("kill", file=process.stdin, flush=True)
        assert process.stdout.readline() == "killed\n"
        later = scrape(port)
        process.communicate("end\n")
    assert 'ams_tests_total{kind="good"} 6.0' in text
    assert "ams_depth 4.0" in text
    # What a killed worker has counted stays counted; what it had open is gone with it.
    assert 'ams_tests_total{kind="good"} 6.0' in later
    assert "ams_depth 2.0" in later


def scrape(port: int) -> str:
    text: bytes = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
    return text.decode()
