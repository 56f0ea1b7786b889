"""ams-bff: the web UI for people and the REST API for scripts, in front of the gRPC services."""

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop
from ams_common.errors import SettingsError
from ams_common.logs import configure_logs
from ams_common.settings import load

from ams_bff.app import build_app
from ams_bff.backends import open_backends
from ams_bff.protocol import BoundedProtocol
from ams_bff.settings import Settings
from ams_bff.web.sessions import open_redis

log = logging.getLogger(__name__)

_STOP_GRACE_S = 20


class Server(uvicorn.Server):
    """Ends as our services do. uvicorn's own would raise the signal again when it has stopped, and kill
    the process before its channels are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def main() -> None:
    """The console script; exit code 2 when the settings won't do."""
    try:
        settings = load(Settings, "BFF")
    except SettingsError as error:
        sys.stderr.writelines(f"ams-bff: {problem}\n" for problem in error.problems)
        sys.exit(2)
    configure_logs("bff", settings.log_level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    async with open_backends(settings) as backends, open_redis(settings.redis_url) as redis:
        host, _, port = settings.listen.rpartition(":")
        config = uvicorn.Config(
            build_app(settings, backends, redis),
            host=host.strip("[]"),
            port=int(port),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
            timeout_graceful_shutdown=_STOP_GRACE_S,
        )
        log.info("serving", extra={"address": settings.listen})
        await Server(config).serve()
        log.info("stopped")


if __name__ == "__main__":
    main()
