"""What browsers fetch beside the pages: built by bff/build/, named by content, cached for ever."""

import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ams_common.errors import NotFoundError, SettingsError
from starlette.requests import Request
from starlette.responses import Response

DIRECTORY = Path(__file__).parents[1] / "static"
MANIFEST = "manifest.json"
PREFIX = "/static/"

_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class File:
    """One asset in memory; `packed` is its gzip, where that is smaller."""

    body: bytes
    packed: bytes | None
    media_type: str


class Assets:
    """Every file of static/, held in memory."""

    def __init__(self, names: Mapping[str, str], files: Mapping[str, File]) -> None:
        """`names`: logical name ("ui.css") to hashed name; `files`: by hashed name."""
        self._names = names
        self._files = files

    @classmethod
    def load(cls, directory: Path = DIRECTORY) -> "Assets":
        """Raises SettingsError when they haven't been built."""
        manifest = directory / MANIFEST
        if not manifest.exists():
            raise SettingsError([f"{manifest} is missing: `make setup` builds the web UI's assets"])
        names = json.loads(manifest.read_text())
        return cls(names, {name: _read(directory / name) for name in names.values()})

    def url(self, name: str) -> str:
        """The path of an asset. Raises KeyError for one that there isn't."""
        return PREFIX + self._names[name]

    def answer(self, request: Request) -> Response:
        """The file that the path names. Raises NotFoundError."""
        file = self._files.get(request.url.path.removeprefix(PREFIX))
        if file is None:
            raise NotFoundError("asset_not_found", "There is no such file.")
        headers = {"cache-control": _FOR_EVER, "vary": "accept-encoding"}
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                file.packed, media_type=file.media_type, headers=headers | {"content-encoding": "gzip"}
            )
        return Response(file.body, media_type=file.media_type, headers=headers)


def _read(path: Path) -> File:
    packed = path.with_name(path.name + ".gz")
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return File(path.read_bytes(), packed.read_bytes() if packed.exists() else None, media_type)
