"""A commit whose message is too long, or says no why, is refused; what isn't a repository isn't looked at."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ams_local import paths

SCRIPT = paths.PACKAGE / "check_commits.py"
GOOD = "Short and plain\n\nIt says why.\n"


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (GOOD, ""),
        (f"{'x' * 60}\n\nIt says why.\n", ""),
        (f"{'x' * 61}\n\nIt says why.\n", "61 characters"),
        ("Short and plain\n", "no body"),
    ],
)
def test_a_message_is_judged(tmp_path: Path, message: str, complaint: str) -> None:
    git(tmp_path, "init", "-q")
    first = commit(tmp_path, "Long ago, when nobody minded how long a subject was, or whether it had a body")
    commit(tmp_path, GOOD)
    commit(tmp_path, message)
    result = check(tmp_path, since=first)
    assert complaint in result.stdout and (result.returncode == 0) == (complaint == ""), result.stdout


def test_without_history_nothing_is_refused(tmp_path: Path) -> None:
    assert check(tmp_path, since="0" * 40).returncode == 0
    git(tmp_path, "init", "-q")
    commit(tmp_path, "Short and plain\n")
    assert check(tmp_path, since="0" * 40).returncode == 0


def check(repository: Path, since: str) -> subprocess.CompletedProcess[str]:
    """The script, beginning its look after another commit."""
    lines = SCRIPT.read_text().splitlines(keepends=True)
    script = repository / SCRIPT.name
    script.write_text(
        "".join(f'SINCE = "{since}"\n' if line.startswith("SINCE =") else line for line in lines)
    )
    command = [sys.executable, str(script)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def commit(repository: Path, message: str) -> str:
    git(repository, "commit", "-q", "--allow-empty", "-m", message)
    return git(repository, "rev-parse", "HEAD")


def git(repository: Path, *arguments: str) -> str:
    program = shutil.which("git")
    assert program is not None
    author = ["-c", "user.name=A", "-c", "user.email=a@example.test", "-c", "commit.gpgsign=false"]
    command = [program, "-C", str(repository), *author, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
