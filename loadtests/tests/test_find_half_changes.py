"""The proof of kills sees a half change, and one that was made twice."""

import pytest
from ams_local.rest import Answer

from loadtests.proofs.kinds_of_change import KINDS
from loadtests.proofs.many_changes import Change
from loadtests.proofs.whole_changes import Found, summary


async def never(idempotency_key: str) -> Answer:
    raise NotImplementedError


def found(rows: tuple[int, ...], made_by: tuple[str, ...], *statuses: int) -> Found:
    """Of a change that was asked for once for each status, by the requests "1", "2" and so on."""
    answers = [
        Answer(status, {"x-request-id": str(number)}, None, "") for number, status in enumerate(statuses, 1)
    ]
    return Found(Change("invite", never, ("ivo@example.com",), answers), rows, made_by)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (found((1, 1), ("1",), 200), ""),
        (found((1, 1), ("1",), 503), ""),
        (found((0, 0), (), 503), ""),
        (found((1, 1), ("1",), 503, 200), ""),
        (found((1, 1), ("2",), 503, 200), ""),
        (found((1, 0), ("1",), 503), "rows (1, 0), audit records 1"),
        (found((0, 0), ("1",), 503), "rows (0, 0), audit records 1"),
        (found((1, 1), (), 503), "rows (1, 1), audit records 0"),
        (found((2, 2), ("1", "2"), 503, 200), "rows (2, 2), audit records 2"),
        (found((0, 0), (), 200), "was answered, and isn't there"),
        (found((0, 0), (), 500), "was answered with 500: "),
        (found((0, 0), (), 409), "was answered with 409: "),
        (found((1, 1), ("1",), 409), "was answered with 409: "),
    ],
)
def test_what_is_neither_whole_nor_absent_is_a_fault(change: Found, fault: str) -> None:
    assert change.fault == fault


def test_what_came_of_lost_changes_is_told() -> None:
    whole, absent = found((1, 1), ("1",), 503), found((0, 0), (), 503)
    repeated, replayed = found((1, 1), ("2",), 503, 200), found((1, 1), ("1",), 503, 200)
    counts = summary([whole, absent, repeated, replayed, found((1, 1), ("1",), 200)])[1].split()
    # asked, answered, lost, repeated, replayed, whole, absent, refused
    assert counts == ["invite", "5", "3", "4", "2", "1", "1", "1", "0"]


def test_each_kind_counts_what_it_leaves() -> None:
    assert (
        KINDS["key: edit"].sql == "SELECT (SELECT count(*) FROM keys WHERE key_id::text = $1 AND name = $2)"
    )
