"""Directories and lock files of the local system."""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# Where files lie in memory, and how much of it must be free: all tests together write less.
MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 8 * 1024**3


def project_root() -> Path:
    """The checkout that this package is installed from, else the working directory."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "Makefile").exists() else Path.cwd()


def run_directory() -> Path:
    """What is kept between runs: data, logs, secrets. AMS_RUN_DIR names another place."""
    directory = Path(os.environ.get("AMS_RUN_DIR", project_root() / ".run")).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def reachable_by_all(path: Path) -> bool:
    """Whether any user may enter the directory, judged by the mode bits of it and of those above."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in (path, *path.parents))


def system_directory(path: Path) -> Path:
    """A place for what must be reachable by another user though `path` isn't. For root only.

    The checkout may lie in a closed home directory, which we don't open; only root can write in /var/lib,
    so nobody else can have prepared the place.
    """
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    directory = Path("/var/lib/ams-local") / digest
    directory.mkdir(parents=True, exist_ok=True)
    return directory


class DirectoryInUseError(Exception):
    """Another process of ours works in the same directory."""


def throwaway_directory() -> Path:
    """A new temporary directory that every user can pass through but not list."""
    parent = Path(tempfile.gettempdir())
    if os.geteuid() == 0 and not reachable_by_all(parent):
        parent = Path("/var/tmp")
    directory = Path(tempfile.mkdtemp(prefix="ams-", dir=parent))
    directory.chmod(0o711)
    return directory


@contextmanager
def files_in_memory() -> Iterator[None]:
    """Temporary files, ours and those of what we run, lie in memory for the block: a database of its own for
    a test is some hundred files. Not where memory is scarce, nor where TMPDIR names a place."""
    if "TMPDIR" in os.environ or not has_enough_memory(MEMORY):
        yield
        return
    directory = Path(tempfile.mkdtemp(prefix="ams-files-", dir=MEMORY))
    directory.chmod(0o711)
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    try:
        yield
    finally:
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
        shutil.rmtree(directory, ignore_errors=True)


def has_enough_memory(directory: Path) -> bool:
    """Whether it, and the machine's memory, which may be less than it promises, have enough for all tests."""
    if not directory.is_dir():
        return False
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    memory_bytes = int(available[1]) * 1024 if available else 0
    return min(memory_bytes, shutil.disk_usage(directory).free) >= _ENOUGH_BYTES


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file for the block; others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock file for the block. Raises DirectoryInUseError when another process does."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUseError(f"AMS is running already in {path.parent}.") from None
        yield
