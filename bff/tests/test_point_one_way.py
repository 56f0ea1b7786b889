"""The folders of ams_bff import one way: what stands lower knows nothing of what stands above."""

import ast
from pathlib import Path

import ams_bff
import pytest

PACKAGE = Path(ams_bff.__file__).parent
# From the lowest to the highest. What lies beside the folders wires them.
LAYERS = ("ui", "http", "live", "usage", "views")


def folders_imported_by(folder: str) -> set[str]:
    """The folders of ams_bff that a folder's modules import."""
    found = set()
    for file in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                parts = [name.split(".") for name in names if name.startswith("ams_bff.")]
                found |= {each[1] for each in parts if (PACKAGE / each[1]).is_dir()}
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_folder_imports_nothing_from_above_it(layer: str) -> None:
    assert folders_imported_by(layer) <= {*LAYERS[: LAYERS.index(layer) + 1]}


def test_there_is_no_other_folder_of_modules() -> None:
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/*.py")}
    assert folders == {*LAYERS}
