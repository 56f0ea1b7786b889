"""ams-bff: the web UI for people and the REST API for scripts, in front of the gRPC services."""

import logging
import socket
from functools import partial

import uvicorn
from ams_common.process import run_process
from ams_common.settings import load

from ams_bff.app import build_app
from ams_bff.backends import open_backends
from ams_bff.http.event_streams import EventStreams
from ams_bff.http.sessions import open_redis
from ams_bff.protocol import BoundedProtocol
from ams_bff.settings import Settings

log = logging.getLogger(__name__)

_STOP_GRACE_S = 20


class Server(uvicorn.Server):
    """Ends the streams before it waits for requests under way: they don't end by themselves."""

    def __init__(self, config: uvicorn.Config, streams: EventStreams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What uvicorn does at the end."""
        self._streams.stop()
        await super().shutdown(sockets)


def main() -> None:
    run_process("ams-bff", partial(load, Settings, "BFF"), run)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    async with open_backends(settings) as backends, open_redis(settings.redis_url) as redis:
        host, _, port = settings.listen.rpartition(":")
        streams = EventStreams(settings.live_beat_s)
        config = uvicorn.Config(
            build_app(settings, backends, redis, streams),
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
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        try:
            await Server(config, streams).serve()
        finally:
            log.info("stopped")


if __name__ == "__main__":
    main()
