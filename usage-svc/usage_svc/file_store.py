"""Files in a directory or an object store: S3 through pyarrow, else whatever fsspec opens the URL of."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pyarrow.fs
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.utils import get_protocol

_UNFINISHED = ".unfinished"


class FileStore:
    """The files under one URL: "/var/lib/ams/reports", "s3://bucket/reports". Its methods block, so they are
    for threads."""

    def __init__(self, url: str) -> None:
        """Raises ValueError or ImportError for a URL that nothing here can open, OSError when nobody tells
        which region a bucket is in."""
        protocol = get_protocol(url)
        self._is_local = protocol in ("file", "local")
        if protocol == "s3":
            # Parquet needs pyarrow anyway: fsspec's own s3fs would bring an SDK of its own beside pyarrow's.
            filesystem, self._root = pyarrow.fs.FileSystem.from_uri(url)
            if not self._root:
                raise ValueError("a URL of S3 must name a bucket")
            self._fs = ArrowFSWrapper(filesystem, skip_instance_cache=True)
        else:
            options = {"auto_mkdir": True} if self._is_local else {}
            self._fs, self._root = fsspec.core.url_to_fs(url, **options)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A file to write. Once the block has ended it is there, whole, in place of one that was, and may be
        relied on even if the machine stops. Of a block that fails nothing stays."""
        path = self._path(name)
        # An object is there when it has been closed, and a kill before that leaves none.
        written = f"{path}{_UNFINISHED}" if self._is_local else path
        try:
            with self._fs.open(written, "wb") as file:
                yield file
        except BaseException:
            with suppress(OSError):
                self._fs.rm_file(written)
            raise
        if self._is_local:
            _sync(Path(written))
            Path(written).replace(path)
            _sync(Path(path).parent)

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

    def delete(self, name: str) -> None:
        """What isn't there is deleted; so is what a killed process has left of it."""
        path = self._path(name)
        for each in (path, f"{path}{_UNFINISHED}") if self._is_local else (path,):
            with suppress(FileNotFoundError):
                self._fs.rm_file(each)

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
