"""`make bare-machine`: both commands of the README on a Debian with nothing but Python, make and git.

Needs root and debootstrap. It makes the machine in a temporary directory, clones the last commit into root's
home there, and runs `make run` (until it says that AMS is running, then the `curl` line that it prints, then
Ctrl-C) and `make test`, as root and then as a user who may install nothing. How this machine reaches its
package registries (settings of apt, pip and npm) is lent to the new one, and goes with it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,make,git,ca-certificates,curl"
CHECKOUT = Path(__file__).resolve().parents[1]
# Fast, and together they start every server, a service of ours and a browser.
FEW_TESTS = (
    "local/tests/test_keep_secrets.py tests/test_journey.py tests/test_check_pages.py tests/test_images.py"
)
# Settings of apt and of certificates; of pip and npm, what this process was started with.
LENT = (
    "etc/apt/apt.conf.d",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/trusted.gpg.d",
    "etc/hosts",
    "etc/npmrc",
    "etc/pip.conf",
    "etc/resolv.conf",
    "etc/ssl/certs/ca-certificates.crt",
)
LENT_VARIABLES = re.compile(
    r"PIP_(?!FIND_LINKS)\w+|npm_config_\w+|UV_\w+|\w+_CA_BUNDLE|\w+_(proxy|PROXY)|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS"
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_TIMEOUT_S = 600
TEST_TIMEOUT_S = 3600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all-tests", action="store_true", help="every test, instead of a few")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("This needs root and debootstrap: apt-get install debootstrap", file=sys.stderr)
        return 2
    tests = "" if arguments.all_tests else FEW_TESTS
    for user, home in (("root", "/root"), ("developer", "/home/developer")):
        # A machine each: what root's run has installed would hide what somebody without root meets.
        with bare_machine() as machine:
            shell = Shell(machine, user, home)
            if user != "root":
                shell.as_root(f"useradd --create-home --shell /bin/bash {user}")
            clone(machine / home[1:] / "ams")
            shell.as_root(f"chown -R {user}: {home}")
            run(shell)
            test(shell, tests)
    print("Both commands work on a bare machine.")
    return 0


class Shell:
    """Commands inside the machine, as one of its users with a clean environment."""

    def __init__(self, machine: Path, user: str, home: str) -> None:
        self.user = user
        self._machine = machine
        self._home = home

    def start(self, command: str, user: str | None = None) -> subprocess.Popen[str]:
        """In a session of its own, so that it can be sent Ctrl-C's signal as a whole."""
        lent = [f"{name}={value}" for name, value in os.environ.items() if LENT_VARIABLES.fullmatch(name)]
        environment = [
            "env",
            "-i",
            f"PATH={PATH}",
            f"HOME={self._home}",
            "TERM=dumb",
            *lent,
        ]
        inside = [
            "chroot",
            f"--userspec={user or self.user}",
            str(self._machine),
            *environment,
            "bash",
            "-c",
            command,
        ]
        return subprocess.Popen(
            inside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def as_root(self, command: str) -> None:
        process = self.start(command, user="root")
        output, _ = process.communicate(timeout=TEST_TIMEOUT_S)
        if process.returncode:
            raise SystemExit(f"{command} failed:\n{output}")


def run(shell: Shell) -> None:
    """`make run`, a call through the gateway with the line that it prints, and Ctrl-C."""
    began = time.monotonic()
    process = shell.start("cd ~/ams && exec make run")
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        print(f"  [{shell.user}] {line}", end="", flush=True)
        seen.append(line)
        if "Try it" in line or time.monotonic() - began > START_TIMEOUT_S:
            break
    ready_s = time.monotonic() - began
    try:
        if "Try it" not in seen[-1]:
            raise SystemExit(f"`make run` as {shell.user} never said that AMS is running")
        shell.as_root(seen[-1].split("Try it", 1)[1].strip().replace("curl", "curl -sSf", 1))
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=120)
    print(f"==> as {shell.user}: running after {ready_s:.0f} s, and the printed call works", flush=True)


def test(shell: Shell, tests: str) -> None:
    """`make test`, of some files or of all."""
    began = time.monotonic()
    process = shell.start(f"cd ~/ams && exec make test T='{tests}'")
    assert process.stdout is not None
    for line in process.stdout:
        print(f"  [{shell.user}] {line}", end="", flush=True)
    if process.wait():
        raise SystemExit(f"`make test` as {shell.user} failed")
    print(f"==> as {shell.user}: tests passed in {time.monotonic() - began:.0f} s", flush=True)


def clone(directory: Path) -> None:
    """The last commit, as somebody who clones the project gets it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", "--no-local", str(CHECKOUT), str(directory)], check=True)


@contextmanager
def bare_machine() -> Iterator[Path]:
    """A directory with a Debian in it, its kernel file systems mounted, for the block."""
    directory = Path(tempfile.mkdtemp(prefix="ams-bare-", dir="/var/tmp"))
    machine = directory / "machine"
    try:
        print(f"==> making a bare Debian {SUITE} (about a minute)", flush=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(machine)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"debootstrap failed:\n{result.stdout[-3000:]}{result.stderr}")
        # The root of a machine is a mount of its own; podman asks the kernel about it.
        mount(["--bind", str(machine), str(machine)])
        for name in LENT:
            lend(Path("/") / name, machine / name)
        for kind, name in (("proc", "proc"), ("sysfs", "sys"), ("devtmpfs", "dev"), ("tmpfs", "dev/shm")):
            (machine / name).mkdir(exist_ok=True)
            mount(["-t", kind, kind, str(machine / name)])
        yield machine
    finally:
        for name in ("dev/shm", "dev", "sys", "proc", ""):
            subprocess.run(["umount", "--lazy", str(machine / name)], check=False, stderr=subprocess.DEVNULL)
        # Whatever is mounted still is this machine's own: nothing below it may be deleted.
        if str(directory) not in Path("/proc/self/mountinfo").read_text():
            shutil.rmtree(directory, ignore_errors=True)


def mount(arguments: Sequence[str]) -> None:
    subprocess.run(["mount", *arguments], check=True)


def lend(source: Path, target: Path) -> None:
    """A copy of one of this machine's settings, where it has them."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Never through a link of the new machine, which would lead back into this one.
        target.unlink(missing_ok=True)
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
