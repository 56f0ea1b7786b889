"""`python -m ams_bff.web.bundle`: builds `static/` from `assets/` and the npm packages.

Styles are joined in the order of their names, icons become one sprite of those that the templates and
modules name, and every file is named by its content and packed beside.
"""

import gzip
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ams_bff.http.assets import DIRECTORY, MANIFEST

PACKAGE = Path(__file__).parents[1]
SOURCES = PACKAGE / "assets"
MODULES = PACKAGE.parent / "node_modules"

_FONT = "@fontsource-variable/inter/files/inter-latin{}-wght-normal.woff2"
_COPIED = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "inter.woff2": _FONT.format(""),
    "inter-ext.woff2": _FONT.format("-ext"),
}
_HASH_CHARACTERS = 12
# What a template hands to a macro that takes an icon.
_QUOTED = re.compile(r'"([a-z0-9]+(?:-[a-z0-9]+)*)"')
# icon("key-round") and icon="key-round", in templates and in modules.
_ICON = re.compile(r"""\bicon(?:\(|=)\s*["']([a-z0-9-]+)["']""")
_SHAPES = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
_SOURCE_MAP = re.compile(rb"\n?//# sourceMappingURL=\S+\s*$")


class BundleError(Exception):
    """Something that the assets need isn't there."""


def build() -> Mapping[str, str]:
    """Writes `static/` anew; the manifest. Raises BundleError."""
    files = {name: _SOURCE_MAP.sub(b"", _package_file(path)) for name, path in _COPIED.items()}
    files |= {path.name: path.read_bytes() for path in sorted(SOURCES.glob("*.js"))}
    files |= {path.name: path.read_bytes() for path in sorted(SOURCES.glob("*.svg"))}
    files["icons.svg"] = _sprite().encode()
    hashed = {name: _hashed_name(name, body) for name, body in files.items()}
    files["ui.css"] = _styles(hashed).encode()
    hashed["ui.css"] = _hashed_name("ui.css", files["ui.css"])
    _write({hashed[name]: body for name, body in files.items()}, hashed)
    return hashed


def _package_file(path: str) -> bytes:
    file = MODULES / path
    if not file.exists():
        raise BundleError(f"{file} is missing: run `make setup`, which runs `npm ci` in bff/")
    return file.read_bytes()


def _hashed_name(name: str, body: bytes) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(body).hexdigest()[:_HASH_CHARACTERS]}.{ending}"


def _styles(hashed: Mapping[str, str]) -> str:
    """All styles as one, comments and indentation left out; url(name) becomes the hashed name."""
    chart = _package_file("uplot/dist/uPlot.min.css").decode()
    ours = [path.read_text() for path in sorted(SOURCES.glob("*.css"))]
    joined = "\n".join([*ours, f"@layer vendor{{{chart}}}"])
    plain = re.sub(r"/\*.*?\*/", "", joined, flags=re.DOTALL)
    dense = re.sub(r"\s*\n\s*", "\n", plain).strip()
    return re.sub(r"url\(([a-z-]+\.[a-z0-9]+)\)", lambda found: f"url({hashed[found[1]]})", dense)


def _sprite() -> str:
    symbols = "".join(_symbol(name) for name in sorted(set(_icon_names())))
    return f'<svg xmlns="http://www.w3.org/2000/svg">{symbols}</svg>'


def _icon_names() -> Iterator[str]:
    sources = [*PACKAGE.glob("templates/**/*.html"), *PACKAGE.glob("**/*.py"), *SOURCES.glob("*.js")]
    for path in sources:
        text = path.read_text()
        yield from _ICON.findall(text)
        if path.suffix == ".html":
            yield from (name for name in _QUOTED.findall(text) if _icon_file(name).exists())


def _icon_file(name: str) -> Path:
    return MODULES / "lucide-static" / "icons" / f"{name}.svg"


def _symbol(name: str) -> str:
    file = _icon_file(name)
    if not file.exists():
        raise BundleError(f"There is no Lucide icon named {name}")
    shapes = _SHAPES.search(file.read_text())
    assert shapes is not None, f"{file} is an icon"
    inner = re.sub(r"\s*\n\s*", "", shapes[1])
    return f'<symbol id="{name}" viewBox="0 0 24 24">{inner}</symbol>'


def _write(files: Mapping[str, bytes], manifest: Mapping[str, str]) -> None:
    """In a directory beside, moved into place at the end."""
    fresh = DIRECTORY.with_name("static.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, body in files.items():
        (fresh / name).write_bytes(body)
        packed = gzip.compress(body, mtime=0)
        if len(packed) < len(body) * 0.9:
            (fresh / f"{name}.gz").write_bytes(packed)
    (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    fresh.rename(DIRECTORY)


if __name__ == "__main__":
    try:
        build()
    except BundleError as error:
        sys.exit(f"ams-bff: {error}")
