"""docs/requirements.md is complete, and the tests that it names are there."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
# The ids of the PRD, and those of its sections that the code cites.
IDS = [
    "FR1",
    *(f"FR2-MERCH-0{number}" for number in range(1, 6)),
    *(f"FR3-CONS-0{number}" for number in range(1, 6)),
    *(f"FR4-ADMIN-0{number}" for number in range(1, 4)),
    *(f"NFR{number}" for number in range(1, 6)),
    *("PRD-4.1", "PRD-4.2", "PRD-5.3", "PRD-8", "PRD-9", "PRD-10", "PRD-11"),
]
_CITED = re.compile(r"\b(FR[1-4]-[A-Z]+-\d+|N?FR\d+|PRD-\d+(?:\.\d+)?)\b")
# What was written when documents outside the project were cited.
_OUTSIDE = re.compile(r"\bPRD (§|FR|NFR|\d)|\barchitecture §")


class Row(NamedTuple):
    id: str
    asks: str
    tests: str
    state: str


def rows() -> list[Row]:
    lines = (ROOT / "docs/requirements.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert all(len(row) == 4 for row in cells), [row[0] for row in cells if len(row) != 4]
    return [Row(*row) for row in cells[2:]]


@cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for path in listed.stdout.splitlines() if (ROOT / path).is_file()]


def test_every_requirement_has_its_row() -> None:
    assert [row.id for row in rows()] == IDS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_a_row_says_what_is_asked_and_how_far_we_are(row: Row) -> None:
    assert row.asks
    assert re.fullmatch(r"done(; .+)?|partly: .+|open", row.state), f"{row.id} is {row.state!r}"
    assert row.tests or row.state == "open", f"{row.id} is {row.state!r} and no test shows it"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_the_named_tests_are_there(row: Row) -> None:
    for named in filter(None, row.tests.split(", ")):
        path, _, name = named.partition("::")
        assert (ROOT / path).is_file(), f"{row.id}: no file {path}; {found(name)}"
        assert name in functions_in(path), f"{row.id}: {path} has no {name}; {found(name)}"


def found(name: str) -> str:
    """Where a test with this name is now, for whoever has moved or renamed it."""
    places = [path for path in tracked("*test_*.py") if name in functions_in(path)]
    return f"it is in {', '.join(places)}" if places else "no file has a test of that name"


def test_what_is_cited_stands_in_the_table() -> None:
    wrong = []
    for path in tracked("*.py", "*.proto", "*.sql", "*.html", "Makefile", "README.md", "docs/*.md"):
        # A migration that has run is never edited, not even its comments.
        if path == "tests/test_requirements.py" or "/migrations/" in path:
            continue
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            unknown = [cited for cited in _CITED.findall(line) if cited not in IDS]
            if unknown or _OUTSIDE.search(line):
                wrong.append(f"{path}:{number}: {line.strip()}")
    assert wrong == [], "cite an id of docs/requirements.md, or a section of docs/architecture.md"
