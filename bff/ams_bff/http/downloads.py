"""The file beside each list: everything that fits what the URL asks for, not only the page that is shown."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from ams.policy.v1.policy_pb2 import Role
from starlette.responses import Response

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import PAGE_ROWS, Cells, cells, csv_list

# A page of a list as the URL wants it: of a size, and for a token; the answer knows its next_page_token.
AskPage: TypeAlias = Callable[[Visit, int, str], Awaitable[Any]]
# What such an answer holds, as rows of a file.
ToRows: TypeAlias = Callable[[Visit, Any], Awaitable[list[Cells]]]


def list_download(
    path: str,
    name: str,
    columns: Sequence[str],
    ask: AskPage,
    to_rows: ToRows,
    role: Role.ValueType | None = None,
) -> View:
    """The list at `path` as `name`.csv."""

    async def download(visit: Visit) -> Response:
        async def rows(page_token: str) -> tuple[list[Cells], str]:
            listed = await ask(visit, PAGE_ROWS, page_token)
            return await to_rows(visit, listed), listed.next_page_token

        return await csv_list(name, columns, rows)

    return page(f"{path}/table.csv", download, role)


def message_download(
    path: str, name: str, columns: Sequence[str], ask: AskPage, items: str, role: Role.ValueType
) -> View:
    """A list of messages, which an answer has in its field `items`. `columns`: a field each, as
    "column:field" where the column is called otherwise."""
    fields = [column.rpartition(":")[2] for column in columns]

    async def rows(visit: Visit, listed: Any) -> list[Cells]:
        return [cells(message, *fields) for message in getattr(listed, items)]

    return list_download(path, name, [column.partition(":")[0] for column in columns], ask, rows, role)
