"""Programs under measurement: started on given cores, and what they have used, from /proc."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ams_local.daemons import die_with_parent

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_START_S = 60.0

# The Debian package of each program or file that a benchmark needs.
_PACKAGES = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "taskset": "util-linux",
    "/usr/lib/nginx/modules/ngx_http_lua_module.so": "libnginx-mod-http-lua",
}


@dataclass(frozen=True)
class Program:
    """A running program that answers on a port of 127.0.0.1."""

    pid: int
    port: int

    def processes(self) -> list[int]:
        """Its own process and all below it, as they are now."""
        return [self.pid, *_descendants(self.pid)]

    def cpu_s(self) -> float:
        """User and system time of the whole program so far."""
        return sum(map(cpu_s, self.processes()))

    def rss_bytes(self) -> int:
        return sum(map(rss_bytes, self.processes()))


def require_tools() -> None:
    """Installs what is missing from Debian's packages, or ends with the command that would."""
    missing = [name for name in _PACKAGES if shutil.which(name) is None and not Path(name).exists()]
    if not missing:
        return
    packages = [_PACKAGES[name] for name in missing]
    install = ["apt-get", "install", "-y", "-qq", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"needed: {', '.join(missing)}: sudo {' '.join(install)}")
    print(f"==> installing {' '.join(packages)}")
    subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)


def require_cores(count: int) -> None:
    if len(os.sched_getaffinity(0)) < count:
        sys.exit(f"{count} cores are needed")


@contextlib.contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    cores: str = "",
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    log: Path | None = None,
) -> Iterator[Program]:
    """The program, once its port is open. `cores`: those it is bound to ("0", "0,1"); "": those we have.
    What it writes goes to `log`, or to the terminal."""
    pinned = ["taskset", "-c", cores] if cores else []
    with contextlib.ExitStack() as opened:
        output = opened.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(
            [*die_with_parent(), *pinned, *command], env=environ, cwd=directory, stdout=output, stderr=output
        )
    try:
        deadline_s = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline_s:
                said = log.read_text(errors="replace")[-2000:] if log else ""
                sys.exit(f"{' '.join(command[:3])} did not start\n{said}")
            time.sleep(0.05)
        yield Program(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_s(pid: int) -> float:
    """User and system time of one process so far; 0 when it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if fields else 0.0


def rss_bytes(pid: int) -> int:
    """What the process has of memory at present; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[21]) * _PAGE_BYTES if fields else 0


def most_rss_bytes(pid: int) -> int:
    """The most memory that one process had so far."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) * 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on: the second, the name, may hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _descendants(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [each for child in children for each in (child, *_descendants(child))]
