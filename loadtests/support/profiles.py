"""Where the time of running processes goes, by Linux's perf."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def profiled(title: str, process_ids: Sequence[int]) -> Iterator[None]:
    """Prints, by shared object and by symbol, where these processes' time has gone meanwhile. Python
    functions have no names there before 3.12: what runs them shows as the interpreter's own."""
    if shutil.which("perf") is None:
        print("no profile: perf isn't installed (apt-get install linux-perf)")
        yield
        return
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "perf.data"
        processes = ",".join(map(str, process_ids))
        command = ["perf", "record", "-q", "-F", "499", "-p", processes, "-o", str(data)]
        recording = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            recording.terminate()
            _, said = recording.communicate()
        if not data.exists() or not data.stat().st_size:
            print(f"no profile: perf said {said.strip()}")
            return
        for key in ("dso", "symbol"):
            shown = ["perf", "report", "-i", str(data), "--stdio", "-q", f"--sort={key}", "--percent-limit=1"]
            print(f"{title}, by {key}:")
            print(subprocess.run(shown, check=False, capture_output=True, text=True).stdout.rstrip())
