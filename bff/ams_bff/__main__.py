"""ams-bff: the web UI for people and the REST API for scripts, in front of the gRPC services."""

import asyncio
import logging
from functools import partial

from ams_common.client import ServiceToken
from ams_common.process import run_process
from ams_common.redis_client import opened
from ams_common.server import cancel
from ams_common.settings import load
from ams_common.web import listen, serve_asgi
from ams_rest.backends import open_backends
from ams_rest.call_limits import COUNTING_TIMEOUT_S, CallLimits
from ams_rest.deadlines import Deadlines

from ams_bff.app import build_app
from ams_bff.http.connections import ConnectionLimits, Connections
from ams_bff.http.event_streams import EventStreams
from ams_bff.settings import Settings

log = logging.getLogger(__name__)

_STOP_GRACE_S = 20
_MAX_HEADER_BYTES = 64 * 1024
# As many as there are requests at once: one without a connection is one without a session.
_MAX_REDIS_CONNECTIONS = 10_000


def main() -> None:
    run_process("ams-bff", partial(load, Settings, "BFF"), run)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    deadlines = Deadlines(settings.read_deadline_s, settings.long_deadline_s)
    open_redis = partial(
        opened, settings.redis_url, ca_file=settings.redis_ca_file, max_connections=_MAX_REDIS_CONNECTIONS
    )
    async with (
        open_backends(settings.addresses, deadlines) as backends,
        # It gives up soon: a page must not hang on a Redis that doesn't answer.
        open_redis(timeout_s=1.0, decode_responses=True) as redis,
        # A call that was counted must not be counted again.
        open_redis(timeout_s=COUNTING_TIMEOUT_S, retries=0) as redis_of_limits,
    ):
        streams = EventStreams(settings.live_beat_s)
        token = ServiceToken(backends.channels["identity"], "bff", settings.service_secret)
        limits = CallLimits(redis_of_limits, settings.rest_calls_per_minute)
        app = build_app(settings, backends, redis, limits, streams, voucher=lambda: token.held)
        log.info("serving", extra={"address": settings.listen})
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        connections = Connections(_connection_limits(settings))
        background = [asyncio.create_task(work) for work in (token.keep(), connections.sweep())]
        try:
            await serve_asgi(
                app,
                listen(settings.listen),
                stop_grace_s=_STOP_GRACE_S,
                # They don't end by themselves, and requests under way are waited for.
                before_stop=streams.stop,
                # Of uvicorn's parsers h11, which alone has a bound on what isn't body.
                http=connections.protocol,
                h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            )
        finally:
            await cancel(background)
            log.info("stopped")


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        head_s=settings.head_timeout_s,
        body_s=settings.body_timeout_s,
        whole_body_s=settings.whole_body_timeout_s,
        write_s=settings.write_timeout_s,
        idle_s=settings.idle_timeout_s,
        most_of_address=0 if settings.trusted_proxies else settings.most_connections_per_address,
    )


if __name__ == "__main__":
    main()
