"""The jars of one Apache Kafka broker: fetched once, without Maven, and held to the hashes of `jars.lock`.

`kafka/pom.xml` names what is wanted; `jars.lock` is what Maven makes of it (`make lock`), a line each: the
coordinates, and the SHA-256 of the file. jgo fetches the files; its own choice of versions isn't Maven's, so
it is never asked for one.
"""

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

from ams_local import paths
from ams_local.daemons import StartError

DEFINITION = paths.PACKAGE / "kafka"
LOCK = DEFINITION / "jars.lock"
_TIMEOUT_S = 120
_AT_A_TIME = 8
_RESOLVED = re.compile(r"^\s+(\S+):(\S+):jar:(\S+):(?:compile|runtime):(/\S+\.jar)", re.MULTILINE)


def fetch(directory: Path) -> Path:
    """The directory under `directory` that holds the jars of the lock. Raises StartError when they can't be
    had, or aren't what the lock says."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    libraries = directory / f"libs-{digest}"
    with paths.locked(directory / "lock"):
        if not libraries.exists():
            print("==> fetching Apache Kafka (once, about ten seconds)", file=sys.stderr, flush=True)
            unfinished = directory / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            # The library trusts a list of its own; a company's own certificate is in the machine's only.
            store = ssl.get_default_verify_paths()
            if trusted := store.cafile or store.capath:
                os.environ.setdefault("REQUESTS_CA_BUNDLE", trusted)
            maven = MavenContext(PythonResolver(), repo_cache=unfinished / "cache", timeout=_TIMEOUT_S)
            lines = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
            with ThreadPoolExecutor(_AT_A_TIME) as threads:
                list(threads.map(lambda line: _fetch_one(maven, line[0], line[1], unfinished), lines))
            shutil.rmtree(unfinished / "cache", ignore_errors=True)
            unfinished.rename(libraries)
    return libraries


def _fetch_one(maven: MavenContext, coordinates: str, expected: str, directory: Path) -> None:
    group, artifact, version = coordinates.split(":")
    try:
        jar = maven.project(group, artifact).at_version(version).artifact().resolve()
    except Exception as error:  # jgo promises no type
        raise StartError(f"{coordinates} could not be fetched: {error}") from error
    if sha256(jar.read_bytes()).hexdigest() != expected:
        raise StartError(f"{coordinates} is not the file that jars.lock names")
    shutil.copy(jar, directory)


def lock() -> None:
    """Write `jars.lock` anew from the pom, with Maven. Raises CalledProcessError when Maven fails."""
    command = ["mvn", "-B", "-f", str(DEFINITION / "pom.xml"), "dependency:list"]
    command += ["-DincludeScope=runtime", "-DoutputAbsoluteArtifactFilename=true", "-DoutputFile=/dev/stdout"]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    jars = {
        f"{group}:{artifact}:{version}": sha256(Path(file).read_bytes()).hexdigest()
        for group, artifact, version, file in _RESOLVED.findall(text)
    }
    heading = "# Compiled from pom.xml by `make lock`: coordinates, and the SHA-256 of the jar.\n"
    LOCK.write_text(heading + "".join(f"{name} {digest}\n" for name, digest in sorted(jars.items())))


if __name__ == "__main__":
    lock()
