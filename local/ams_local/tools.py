"""Programs that come from the operating system."""

import os
import shutil
import subprocess

PACKAGES = {
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "podman": "podman",
    "chromium": "chromium",
}
# What tests call by name.
FOR_TESTS = ("docker-registry", "skopeo", "podman", "chromium")


class ToolMissingError(Exception):
    """A program is not installed and we may not install it; the message names the command that does."""


def find(program: str) -> str:
    """The program's path; as root on Debian and its kin it is installed when it's missing."""
    path = shutil.which(program)
    if path is None:
        _install(program)
        path = shutil.which(program)
    if path is None:
        raise ToolMissingError(f"`{program}` is still missing after installing {PACKAGES[program]}.")
    return path


def _install(program: str) -> None:
    package = PACKAGES[program]
    apt = shutil.which("apt-get")
    if apt is None:
        raise ToolMissingError(f"`{program}` is missing: install it with your system's package manager.")
    command = [apt, "install", "-y", "--no-install-recommends", package]
    if os.geteuid() != 0:
        raise ToolMissingError(f"`{program}` is missing. Install it with: sudo apt-get install -y {package}")
    print(f"==> installing {package}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([apt, "update", "-qq"], env=quiet, check=False, stdout=subprocess.DEVNULL)
    if subprocess.run(command, env=quiet, check=False, stdout=subprocess.DEVNULL).returncode:
        raise ToolMissingError(f"`{program}` could not be installed. Try: apt-get install -y {package}")
