"""A list as a file: whole, bounded, safe in a spreadsheet."""

import csv
import io

from ams_bff.ui.csv_files import MOST_ROWS, Cells, csv_list
from starlette.responses import Response, StreamingResponse

PAGE = 500


async def lines_of(answer: Response) -> list[list[str]]:
    assert isinstance(answer, StreamingResponse)
    text = "".join(
        [part if isinstance(part, str) else bytes(part).decode() async for part in answer.body_iterator]
    )
    return list(csv.reader(io.StringIO(text)))


async def listed(count: int) -> list[list[str]]:
    """The file of a list with so many rows, without its head."""

    async def ask(token: str) -> tuple[list[Cells], str]:
        start = int(token or 0)
        end = min(start + PAGE, count)
        return [(f"n{number}", number) for number in range(start, end)], str(end) if end < count else ""

    answer = await csv_list("numbers", ("name", "number"), ask)
    assert answer.headers["content-disposition"] == 'attachment; filename="numbers.csv"'
    head, *rows = await lines_of(answer)
    assert head == ["name", "number"]
    return rows


async def test_a_file_has_every_row_of_every_page() -> None:
    assert await listed(0) == []
    assert [row[1] for row in await listed(2 * PAGE + 1)] == [str(number) for number in range(2 * PAGE + 1)]


async def test_a_file_that_is_whole_says_nothing_more() -> None:
    assert len(await listed(MOST_ROWS)) == MOST_ROWS


async def test_a_longer_list_ends_with_a_line_that_says_so() -> None:
    *rows, last = await listed(MOST_ROWS + 1)
    assert len(rows) == MOST_ROWS
    assert last == [f"The first {MOST_ROWS:,} rows; filter or search the list for the others."]


async def test_no_cell_is_a_formula() -> None:
    async def ask(token: str) -> tuple[list[Cells], str]:
        return [("=1+1", "+1", "-1", "@x", "\tx", "\rx", "a", -1)], ""

    [_, row] = await lines_of(await csv_list("x", ("a",), ask))
    assert row == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "a", "-1"]
