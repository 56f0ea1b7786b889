"""One worker: `python -m ams_gateway.worker CALLS OPERATORS READY`, file descriptors of two listening sockets
(-1: none) and of a pipe. The supervisor starts it; a gateway of one worker is this in its own process."""

import asyncio
import contextlib
import gc
import os
import socket
import sys

import uvicorn
import uvloop
from ams_common.logs import configure_logs
from ams_common.process import end_when_told
from ams_common.settings import load

from ams_gateway.app import build, server_options
from ams_gateway.settings import Settings


def run(settings: Settings, calls: socket.socket, operators: socket.socket | None, ready: int = -1) -> None:
    """Until a signal says stop. `ready` is written to as soon as calls are taken."""
    # What has been imported stays, and requests leave no cycles: the collector need not look so often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    end_when_told()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, calls, operators, ready))


async def _serve(
    settings: Settings, calls: socket.socket, operators: socket.socket | None, ready: int
) -> None:
    app = build(settings, operators=operators)
    await _Server(uvicorn.Config(app, **server_options(settings)), ready).serve(sockets=[calls])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: int) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready >= 0:
            # Only a supervisor that replaces somebody still reads it.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._ready, b"1")
            os.close(self._ready)


def main() -> None:
    calls, operators, ready = (int(number) for number in sys.argv[1:4])
    settings = load(Settings, "GATEWAY")
    configure_logs("gateway", settings.log_level)
    run(
        settings,
        socket.socket(fileno=calls),
        socket.socket(fileno=operators) if operators >= 0 else None,
        ready,
    )


if __name__ == "__main__":
    main()
