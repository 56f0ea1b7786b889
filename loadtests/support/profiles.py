"""Where the time of running processes goes, by Linux's perf."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg

_STATEMENTS = """
    SELECT regexp_replace(query, '\\s+', ' ', 'g') AS statement, calls, total_exec_time * 1000 AS took_us
    FROM public.pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
    WHERE datname = current_database() ORDER BY took_us DESC LIMIT 12
"""


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
            found = subprocess.run(shown, check=False, capture_output=True, text=True).stdout
            print("\n".join(line.rstrip("- ") for line in found.splitlines() if line.strip()), flush=True)


async def begin_counting_statements(connection: asyncpg.Connection) -> bool:
    """Whether the server can tell what its statements take."""
    try:
        await connection.execute("CREATE EXTENSION pg_stat_statements SCHEMA public")
        await connection.execute("SELECT public.pg_stat_statements_reset()")
    except asyncpg.PostgresError as error:
        print(f"no statements: {error}; shared_preload_libraries = pg_stat_statements")
        return False
    return True


async def print_statements(connection: asyncpg.Connection, events: float) -> None:
    """What the statements of this database have taken since then, for each of so many events."""
    rows = await connection.fetch(_STATEMENTS)
    print("statements, in µs an event:")
    for row in rows:
        print(
            f"  {row['took_us'] / events:7.2f} {row['calls']:8,} times  {row['statement'][:90]}", flush=True
        )
