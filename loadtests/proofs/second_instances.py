"""A second process of a service, which joins the first one's work and leaves it."""

import random
import signal
from dataclasses import dataclass, field

from ams_common import ports
from ams_common.processes import PROCESSES
from ams_local.daemons import Daemon
from support.running_system import RunningSystem

_READY_S = 60


@dataclass
class SecondInstances:
    system: RunningSystem
    _running: dict[str, Daemon] = field(default_factory=dict)

    def change(self, name: str, chosen: random.Random) -> str:
        """Start a second process of `name`; if there is one, end it, kindly or not. What was done."""
        second = self._running.pop(name, None)
        if second is None:
            self._running[name] = self._start(name)
            return "a second joined"
        number = chosen.choice((signal.SIGTERM, signal.SIGKILL))
        second.stop(number)
        return f"the second left by {number.name}"

    def _start(self, name: str) -> Daemon:
        system, process = self.system, PROCESSES[name]
        own = {variable: ports.free_port() for variable, port in process.ports.items() if port}
        program = system.programs[name]
        second = Daemon(
            f"a second {name}",
            program.command,
            log=system.run_directory / f"{name}-2.log",
            directory=system.run_directory,
            env={**program.environment, **{each: f"127.0.0.1:{port}" for each, port in own.items()}},
        )
        listen = own[process.variable("LISTEN")]
        second.wait_until(lambda: ports.is_listening(listen), _READY_S)
        return second

    def stop(self) -> None:
        while self._running:
            self._running.popitem()[1].stop()
