"""How each of our processes begins: settings or a clear refusal, logs, an event loop."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import uvloop

from ams_common.errors import SettingsError
from ams_common.logs import configure_logs


class Logged(Protocol):
    """Settings that say how much is logged."""

    @property
    def log_level(self) -> str: ...


S = TypeVar("S", bound=Logged)

BAD_SETTINGS_EXIT_CODE = 2


def settings_or_exit(name: str, load_settings: Callable[[], S]) -> S:
    """The process's settings, its logs configured by them. Without good ones it ends with exit code 2 and
    one line for each variable that is wrong."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.writelines(f"{name}: {problem}\n" for problem in error.problems)
        sys.exit(BAD_SETTINGS_EXIT_CODE)
    configure_logs(name, settings.log_level)
    return settings


def run_process(
    name: str, load_settings: Callable[[], S], serve: Callable[[S], Coroutine[Any, Any, None]]
) -> None:
    """A whole process: `serve(settings)` on uvloop."""
    settings = settings_or_exit(name, load_settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
