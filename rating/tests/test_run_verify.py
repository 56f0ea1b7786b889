"""The command `ams-verify`."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from ams_rating import proof
from ams_rating.root_digest import root_digest
from ams_rating.testing import File, file_of, used, with_item
from ams_rating.verify import NoProofError, read_roots

FILE = file_of(used())


def answer_of_day_roots(file: File) -> bytes:
    roots = [
        {
            "merchantId": str(root.merchant_id),
            "day": root.day.isoformat(),
            "edition": root.edition,
            "events": str(root.events),
            "root": base64.b64encode(root.root).decode(),
            "publishedAt": "2026-12-01T03:00:00Z",
        }
        for root in file.roots
    ]
    return json.dumps({"roots": roots}).encode()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"roots":[{}]}', b'{"roots":5}', b"\xff", b"[" * 99_999])
def test_other_answers_hold_no_roots(content: bytes) -> None:
    with pytest.raises(NoProofError):
        read_roots(content)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    # Isolated, and without the packages that are installed: it needs nothing but Python.
    package = Path(proof.__file__).parent.parent
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import ams_rating.verify as v; sys.exit(v.main())"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(package), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_needs_nothing_but_python_and_says_that_all_agrees(tmp_path: Path) -> None:
    (tmp_path / "proof").write_bytes(b"".join(FILE.rows()))
    (tmp_path / "roots").write_bytes(answer_of_day_roots(FILE))
    done = run(tmp_path / "proof", "--roots", tmp_path / "roots")
    assert (done.returncode, done.stderr) == (0, "")
    assert "INV-000042" in done.stdout and "Everything agrees." in done.stdout
    assert "--roots" not in done.stdout
    assert "--roots" in run(tmp_path / "proof").stdout


def test_the_command_compares_the_roots_with_the_invoices_digest(tmp_path: Path) -> None:
    (tmp_path / "proof").write_bytes(b"".join(FILE.rows()))
    digest = root_digest(FILE.roots).hex()
    assert f"Roots digest: {digest}." in run(tmp_path / "proof").stdout
    done = run(tmp_path / "proof", "--digest", digest)
    assert (done.returncode, "--digest" in done.stdout) == (0, False)
    done = run(tmp_path / "proof", "--digest", "ab" * 32)
    assert done.returncode == 1
    assert f"roots: their digest is {digest}, but the invoice says {'ab' * 32}" in done.stdout
    for wrong in ("ab", "x" * 64, ""):
        done = run(tmp_path / "proof", "--digest", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "64 hexadecimal digits" in done.stderr and "Traceback" not in done.stderr


def test_the_command_names_each_difference_and_fails(tmp_path: Path) -> None:
    changed = replace(FILE, lines=with_item(FILE.lines, 2, amount=Decimal("99.99")))
    (tmp_path / "proof").write_bytes(b"".join(changed.rows()))
    done = run(tmp_path / "proof")
    assert done.returncode == 1
    assert "line 3: its amount is EUR 99.99, but" in done.stdout
    assert "Differences: 2." in done.stdout


def test_the_command_says_which_file_it_can_not_read(tmp_path: Path) -> None:
    (tmp_path / "proof").write_bytes(b"".join(FILE.rows()))
    (tmp_path / "other").write_bytes(b"{}")
    for arguments in (
        [tmp_path / "none"],
        [tmp_path / "other"],
        [tmp_path / "proof", "--roots", tmp_path / "other"],
    ):
        done = run(*arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert str(arguments[-1]) in done.stderr and "Traceback" not in done.stderr
