"""Which release of the code this is, so that what an older one could not do is tried again."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

# The contracts, the rules they are read by, and what all services share.
_SHARED = ("ams", "ams_common", "ams_rating")


def release_of(packages: Iterable[str]) -> str:
    """A name of the code of `packages` and of what they share: a digest of it, so that nobody has to count.
    Two installations of the same code have the same."""
    return _release_of(tuple(sorted({*_SHARED, *packages})))


@cache
def _release_of(packages: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for package in packages:
        for name, content in sorted(_sources(files(package), package)):
            digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif entry.name.endswith((".py", ".sql")):
            yield name, entry.read_bytes()
