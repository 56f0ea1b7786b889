"""Packages keep to themselves, and the folders inside each import one another in one direction."""

import ast
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# By folder: whatever has a pyproject.toml, the contracts apart.
PACKAGES = {
    path.parent.name: tomllib.loads(path.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ][0]
    for path in sorted(ROOT.glob("*/pyproject.toml"))
    if path.parent.name != "protos"
}
OURS = {*PACKAGES.values(), "ams"}


def modules_of(file: Path) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it; of `from a import b` it is a.b."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def imports_of(file: Path) -> Iterator[str]:
    """The top-level packages that a file imports."""
    return (name.split(".")[0] for name in modules_of(file))


def unit_imports(folder: str) -> dict[str, set[str]]:
    """By unit: the others that it imports. A unit is a module at the top of the package, or a folder in it
    with all that it holds."""
    package = ROOT / folder / PACKAGES[folder]
    units: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        unit = file.relative_to(package).parts[0].removesuffix(".py")
        names = (name.split(".") for name in modules_of(file))
        units.setdefault(unit, set()).update(
            name[1] for name in names if name[0] == package.name and len(name) > 1 and name[1] != unit
        )
    # What isn't a unit is a name of the package's own __init__.py.
    return {unit: imported & units.keys() for unit, imported in units.items() if unit != "__init__"}


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} has no Python file"
    return found


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_imports_only_itself_common_and_the_contracts(folder: str) -> None:
    allowed = {PACKAGES[folder], "ams_common", "ams", "ams_rating"}
    if folder in ("common", "rating"):
        # What rates is for whoever pays, too: it needs nothing of ours.
        allowed = {"common": {"ams_common", "ams", "ams_rating"}, "rating": {"ams_rating"}}[folder]
    if folder == "bff":
        allowed.add("ams_rest")
    if folder in ("usage-svc", "billing-svc", "pdf"):
        allowed.add("ams_pdf")
    foreign = {
        f"{file.relative_to(ROOT)} imports {package}"
        for file in sources(folder)
        for package in imports_of(file)
        # Tests ask the program that runs them where the tools are that they drive.
        if package in OURS - allowed and not (package == "ams_local" and "tests" in file.parts)
    }
    assert foreign == set()


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_declares_every_package_of_ours_that_it_imports(folder: str) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    declared = {dependency.split("[")[0] for dependency in project["dependencies"]}
    names = {
        "ams": "ams-protos",
        "ams_common": "ams-common",
        "ams_rest": "ams-rest",
        "ams_rating": "ams-rating",
        "ams_pdf": "ams-pdf",
    }
    package = ROOT / folder / PACKAGES[folder]
    imported = {name for file in package.rglob("*.py") for name in imports_of(file)}
    assert {names[name] for name in imported & names.keys() if names[name] != project["name"]} <= declared


@pytest.mark.parametrize("folder", PACKAGES)
def test_inside_a_package_nothing_is_imported_in_a_circle(folder: str) -> None:
    TopologicalSorter(unit_imports(folder)).prepare()  # a CycleError names those in the circle


def test_registry_svc_stays_a_handful_of_units() -> None:
    units = unit_imports("registry-svc")
    assert len(units) <= 16
    assert sum(len(imported) for imported in units.values()) <= 40


def test_the_gateway_stays_a_handful_of_units() -> None:
    """Apart from the wiring (app, runtime, what starts them) each knows few others."""
    units = unit_imports("gateway")
    units.pop("testing")
    assert len(units) <= 20
    assert sum(len(imported) for imported in units.values()) <= 58
    assert units["http"] == set()
    assert units["upstream"] == {"http"}
    assert units["metering"] <= {"tasks"}
    assert units["access"] <= {"http", "tasks", "upstream"}
    assert "gateway" not in units["terms"] and "server" not in units["gateway"]


@pytest.mark.parametrize("folder", [folder for folder in PACKAGES if folder.endswith("-svc")])
def test_only_the_store_runs_sql(folder: str) -> None:
    package = ROOT / folder / PACKAGES[folder]
    # What must hold of the tables is checked by an operator's command: it runs invariants.sql and no other.
    allowed = ("store.py", "testing.py", "invariants.py")
    others = [
        file
        for file in package.rglob("*.py")
        if file.name not in allowed and not file.name.endswith("_store.py")
    ]
    running = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table"}
    offenders = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in others
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in running
    }
    assert offenders == set()


def test_no_module_has_a_name_that_says_nothing() -> None:
    said_nothing = {"utils.py", "util.py", "helpers.py", "helper.py", "manager.py", "base.py", "misc.py"}
    assert [file for folder in PACKAGES for file in sources(folder) if file.name in said_nothing] == []


def test_no_tests_folder_is_a_package() -> None:
    assert [path for folder in PACKAGES for path in (ROOT / folder).rglob("tests/__init__.py")] == []


def test_the_lock_has_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    assert all(line.rstrip().endswith("\\") for line in requirements), "a requirement without hashes"


@pytest.mark.parametrize("folder", ["views", "ui", "usage", "live", "templates"])
def test_only_the_applications_frame_knows_the_rest_api(folder: str) -> None:
    """Pages ask the services as people's browsers can't: by typed calls, not by our own REST API."""
    for file in (ROOT / "bff/ams_bff" / folder).rglob("*"):
        if file.suffix in (".py", ".html"):
            assert "ams_rest" not in file.read_text(), file


@pytest.mark.parametrize("folder", [folder for folder in PACKAGES if folder.endswith("-svc")])
def test_who_keeps_answers_for_repeated_requests_purges_them(folder: str) -> None:
    package = ROOT / folder / PACKAGES[folder]
    keeps = any(".remember(" in file.read_text() for file in package.rglob("*.py"))
    assert ("purge_old_answers(" in (package / "__main__.py").read_text()) == keeps
