"""How each of our processes begins: settings or a clear error, logs, an event loop."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, Protocol, TypeVar

import uvloop

from ams_common import metrics
from ams_common.errors import SettingsError
from ams_common.logs import configure_logs


class ProcessSettings(Protocol):
    """What the settings of every process say."""

    @property
    def log_level(self) -> str: ...
    @property
    def metrics_listen(self) -> str: ...


S = TypeVar("S", bound=ProcessSettings)

BAD_SETTINGS_EXIT_CODE = 2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def settings_or_exit(name: str, load_settings: Callable[[], S], *, serves_metrics: bool = True) -> S:
    """The process's settings; its logs and metrics are configured by them. Without good ones it ends with
    exit code 2 and one line for each variable that is wrong. `serves_metrics` False: somebody else answers
    scrapes, or the process by itself."""
    try:
        settings = load_settings()
    except SettingsError as error:
        _exit(name, error)
    configure_logs(name, settings.log_level)
    metrics.share_among_workers()
    if serves_metrics:
        metrics.serve(settings.metrics_listen)
    return settings


def end_when_told() -> None:
    """SIGTERM and SIGINT unwind the stack from now on: what is open is closed, and the exit code is 0.

    Servers take the signals over while they serve. uvicorn raises them again when it has stopped: with the
    default handler that would kill the process there and then.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))


def run_process(
    name: str, load_settings: Callable[[], S], serve: Callable[[S], Coroutine[Any, Any, None]]
) -> None:
    """A whole process: `serve(settings)` on uvloop. `serve` may raise SettingsError for what only shows when
    a setting is used."""
    _run(name, settings_or_exit(name, load_settings), serve)


def run_command(
    name: str, load_settings: Callable[[], S], work: Callable[[S], Coroutine[Any, Any, None]]
) -> None:
    """As run_process, for a command that is given beside the process, with the same environment: where that
    answers operators, nobody else can."""
    _run(name, settings_or_exit(name, load_settings, serves_metrics=False), work)


def _run(name: str, settings: S, work: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    end_when_told()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(settings))
    except SettingsError as error:
        _exit(name, error)


def _exit(name: str, error: SettingsError) -> NoReturn:
    sys.stderr.writelines(f"{name}: {problem}\n" for problem in error.problems)
    sys.exit(BAD_SETTINGS_EXIT_CODE)
