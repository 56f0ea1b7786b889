"""Files in a directory or an object store: whatever fsspec opens the URL of."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.utils import get_protocol


class FileStore:
    """The files under one URL: "/var/lib/ams/reports", "s3://bucket/reports". Its methods block, so they are
    for threads."""

    def __init__(self, url: str) -> None:
        self._is_local = get_protocol(url) in ("file", "local")
        options = {"auto_mkdir": True} if self._is_local else {}
        self._fs, self._root = fsspec.core.url_to_fs(url, **options)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A file to write. It may be relied on, even if the machine stops, once the block has ended."""
        path = self._path(name)
        with self._fs.open(path, "wb") as file:
            yield file
        if self._is_local:
            _sync(Path(path))

    def open(self, name: str) -> Any:
        """A file to read. Raises FileNotFoundError."""
        return self._fs.open(self._path(name), "rb")

    def read(self, name: str, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on. Raises FileNotFoundError."""
        with self.open(name) as file:
            file.seek(offset)
            content: bytes = file.read(count)
        return content

    def size_bytes(self, name: str) -> int:
        size: int = self._fs.info(self._path(name))["size"]
        return size

    def rename(self, name: str, new_name: str) -> None:
        """Replaces what has the new name."""
        self._fs.mv(self._path(name), self._path(new_name))
        if self._is_local:
            _sync(Path(self._path(new_name)).parent)

    def delete(self, name: str) -> None:
        """What isn't there is deleted."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _sync(path: Path) -> None:
    """Has the disk keep a file and its name, or a directory's names."""
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
