"""Compiles `ams_gateway/http/_heads.c` with whatever C compiler there is, for wheels and editable installs.

The system's `cc`, or the one in the `ziglang` package; no header of Python's is needed. Where neither works
the gateway is installed without it, and reads heads in Python: it says so when it starts.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).parent / "ams_gateway/http/_heads.c"
TARGET = SOURCE.with_name("_heads.abi3.so")
# It calls Python and three functions of the C library, which the interpreter has loaded: linking it with
# nothing, it loads whichever they are.
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-nostdlib", "-fvisibility=hidden")


def compilers() -> list[list[str]]:
    found = [[path] for path in [shutil.which("cc")] if path is not None]
    if find_spec("ziglang") is not None:
        # Unless it is told otherwise it compiles for this very processor; the wheel may run on another.
        found.append([sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"])
    return found


def build() -> bool:
    """Whether there is a compiled part now."""
    # One that was left from another machine or an older source would be worse than none.
    TARGET.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        environ = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        for compiler in compilers():
            command = [*compiler, *_FLAGS, "-o", str(TARGET), str(SOURCE)]
            ran = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environ)  # noqa: S603
            if ran.returncode == 0:
                return True
    return False


class HeadsBuildHook(BuildHookInterface[BuilderConfig]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if shutil.which("cc") else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if build():
            build_data["artifacts"].append(f"/{TARGET.relative_to(self.root)}")
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
        else:
            self.app.display_warning("no C compiler: the gateway will read heads in Python")


if __name__ == "__main__":
    sys.exit(not build())
