"""Running one command with servers around it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from ams_local.daemons import die_with_parent
from ams_local.servers import serving, undisturbed

# A command that Ctrl-C reached through the terminal gets this long to end by itself.
GRACE_S = 10


def execute(command: Sequence[str], *, throwaway: bool) -> int:
    """The command's exit code, as a shell would tell it (128 + the signal's number)."""
    with serving(throwaway=throwaway) as addresses:
        process = subprocess.Popen(
            [*die_with_parent(), *command], env={**os.environ, **addresses.environment()}
        )
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _end(process, signal_it=False)
            raise
        except SystemExit:
            _end(process, signal_it=True)
            raise
    return code if code >= 0 else 128 - code


def end_on_signals() -> None:
    """Makes SIGTERM unwind the stack as Ctrl-C does, so that every `finally` runs.

    A job in the background, or under nohup, is started with SIGINT ignored; Python then leaves it so, and all
    that we start would inherit it: nothing could be stopped by SIGINT any more.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(process: subprocess.Popen[bytes], *, signal_it: bool) -> None:
    """Waits for the command's end. Ctrl-C in a terminal reached it already; SIGTERM only reached us."""
    with undisturbed():
        for end in (process.terminate if signal_it else lambda: None, process.terminate, process.kill):
            end()
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                continue
            return
