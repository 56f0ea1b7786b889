"""The compiled part is built where a machine has a compiler, and left out where it has none."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[1]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """What a build needs, with a compiled part of another machine's among it."""
    http = tmp_path / "ams_gateway/http"
    http.mkdir(parents=True)
    for name in ("_heads.c", "_abi3.h"):
        shutil.copy(GATEWAY / "ams_gateway/http" / name, http)
    shutil.copy(GATEWAY / "hatch_build.py", tmp_path)
    (http / "_heads.abi3.so").write_bytes(b"another machine's")
    return tmp_path


def build(sources: Path, path: str) -> tuple[int, Path]:
    command = [sys.executable, str(sources / "hatch_build.py")]
    ran = subprocess.run(command, env={"PATH": path}, check=False)
    return ran.returncode, sources / "ams_gateway/http/_heads.abi3.so"


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc")
def test_a_compiler_builds_what_python_can_load(sources: Path) -> None:
    code, built = build(sources, str(Path(shutil.which("cc") or "").parent))
    assert code == 0
    spec = importlib.util.spec_from_file_location("_heads", built)
    assert spec is not None
    built_module = importlib.util.module_from_spec(spec)
    assert built_module.cut(b"GET / HTTP/1.1\r\na: b", {b"a": 0}, (), 0)[1] == b"a: b\r\n"


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is not None, reason="this Python brings a compiler")
def test_without_a_compiler_nothing_is_left_that_was_built_elsewhere(sources: Path, tmp_path: Path) -> None:
    code, built = build(sources, str(tmp_path))
    assert code != 0 and not built.exists()
