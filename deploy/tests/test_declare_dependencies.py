"""What a folder imports it declares itself: what happens to come with another package may stop coming."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ams_local.paths import project_root

ROOT = project_root()
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/pyproject.toml"))
# google.rpc, google.protobuf and so on share a top package.
_GOOGLE = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "google.type": "googleapis-common-protos",
    "google.api": "googleapis-common-protos",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(package: Path) -> Iterator[str]:
    """Dotted names of the modules that the package's code imports; fixtures for tests apart."""
    for file in package.rglob("*.py"):
        if "testing" in file.relative_to(package).with_suffix("").parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="session")
def owners() -> dict[str, set[str]]:
    """By top package: the distributions that it may come from. Our own packages aren't found by metadata."""
    found = {package: {normal(name) for name in names} for package, names in packages_distributions().items()}
    for folder in FOLDERS:
        name, packages, _ = described(folder)
        found |= {package: {name} for package in packages}
    return found


def described(folder: str) -> tuple[str, list[str], set[str]]:
    """A folder's name, its packages and what it declares."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    declared = {normal(re.split(r"[\[<>=!~; ]", each)[0]) for each in project["project"]["dependencies"]}
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return normal(project["project"]["name"]), packages, declared


def origin(module: str, owners: dict[str, set[str]]) -> set[str]:
    """The distributions that the module may come from; its own name if nobody has it."""
    parts = module.split(".")
    if parts[0] == "google":
        return {_GOOGLE[".".join(parts[:2])]}
    if parts[0] == "azure":
        return {"-".join(parts[:2])}
    return owners.get(parts[0], {parts[0]})


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_package_imports_it_declares(folder: str, owners: dict[str, set[str]]) -> None:
    name, packages, declared = described(folder)
    used = {module for package in packages for module in imports(ROOT / folder / package)}
    assert used
    undeclared = {
        module
        for module in used
        if module.split(".")[0] not in sys.stdlib_module_names
        and not origin(module, owners) & {name, *declared}
    }
    assert not undeclared, sorted(undeclared)
