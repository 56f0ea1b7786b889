"""One worker: `python -m ams_gateway.worker CALLS OPERATORS READY LIFELINE`, file descriptors of two
listening sockets (-1: none) and of two pipes. The supervisor starts it."""

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
from ams_gateway.descriptors import raise_limit
from ams_gateway.settings import Settings

# So many new objects that aren't gone yet the collector of garbage looks through at once, in milliseconds.
_COLLECTED_AT_ONCE = 5_000
# What has stayed is looked through once more after so many rounds, and then never again.
_ROUNDS = 4
# So many objects are looked through in a tenth of a second, and less is not worth looking at.
_SMALL = 500_000
_LOOK_EVERY_S = 60.0
# So long after its connection a request is on its way, at the most.
_FIRST_REQUEST_S = 0.1


def run(
    settings: Settings, calls: socket.socket, operators: socket.socket | None, ready: int, lifeline: int
) -> None:
    """Until a signal says stop, or nobody can write to `lifeline` any more. `ready` is written to as soon as
    calls are taken."""
    spare_what_stays()
    raise_limit()
    end_when_told()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, calls, operators, ready, lifeline))


async def _serve(
    settings: Settings, calls: socket.socket, operators: socket.socket | None, ready: int, lifeline: int
) -> None:
    app = build(settings, operators=operators)
    server = _Server(uvicorn.Config(app, **server_options(settings)), ready)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(lifeline)
        server.should_exit = True

    loop.add_reader(lifeline, stop)
    looking = asyncio.create_task(look_through_what_stayed())
    await server.serve(sockets=[calls])
    looking.cancel()


def spare_what_stays() -> None:
    """Tell Python's collector what a gateway holds: objects by the million that stay, as those of 100,000
    keys do, and calls that leave no cycles.

    Left to itself it looks through all that stays, again whenever that has grown: for half a second no call
    was served, and what Redis had answered lay unread until it was taken for away. From now on an object is
    looked through twice at most, while it is young. What lives long must leave no cycle
    (tests/test_leave_no_garbage.py); one that does is found by `look_through_what_stayed`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AT_ONCE, _ROUNDS, _ROUNDS)
    gc.callbacks.append(_freeze_survivors)


def _freeze_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] > 0:
        gc.freeze()


async def look_through_what_stayed(every_s: float = _LOOK_EVERY_S, least: int = _SMALL) -> None:
    """For ever: once what has stayed is twice what it was, look for garbage in it, so that no leak grows
    without bound. That stops the worker for up to a second with 100,000 keys, and comes ever more seldom."""
    looked_through = max(gc.get_freeze_count(), least)
    while True:
        await asyncio.sleep(every_s)
        if gc.get_freeze_count() > 2 * looked_through:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            looked_through = max(gc.get_freeze_count(), least)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: int) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Only a supervisor that replaces somebody still reads it.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._ready, b"1")
        os.close(self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more connections, and lets those just taken say what they came for: closed before their
        first request was read, they would look like a server that has failed."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_FIRST_REQUEST_S)
        await super().shutdown(sockets)


def main() -> None:
    calls, operators, ready, lifeline = (int(number) for number in sys.argv[1:5])
    settings = load(Settings, "GATEWAY")
    configure_logs("gateway", settings.log_level)
    run(
        settings,
        socket.socket(fileno=calls),
        socket.socket(fileno=operators) if operators >= 0 else None,
        ready,
        lifeline,
    )


if __name__ == "__main__":
    main()
