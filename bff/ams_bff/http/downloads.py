"""The file beside each list: everything that fits what the URL asks for, not only the page that is shown."""

from collections.abc import Awaitable, Callable, Sequence

from ams.policy.v1.policy_pb2 import Role
from starlette.responses import Response

from ams_bff.http.api import L, Listed
from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import PAGE_ROWS, Cells, cells, csv_list


def list_download(
    path: str,
    name: str,
    columns: Sequence[str],
    ask: Callable[[Visit, int, str], Awaitable[L]],
    to_rows: Callable[[Visit, L], Awaitable[list[Cells]]],
    role: Role.ValueType | None = None,
) -> View:
    """The list at `path` as `name`.csv. `ask` gives a page of it as the URL wants it, of a size and for a
    token, and `to_rows` what such an answer holds."""

    async def download(visit: Visit) -> Response:
        async def rows(page_token: str) -> tuple[list[Cells], str]:
            listed = await ask(visit, PAGE_ROWS, page_token)
            return await to_rows(visit, listed), listed.next_page_token

        return await csv_list(name, columns, rows)

    return page(f"{path}/table.csv", download, role)


def message_download(
    path: str,
    name: str,
    columns: Sequence[str],
    ask: Callable[[Visit, int, str], Awaitable[Listed]],
    items: str,
    role: Role.ValueType,
) -> View:
    """A list of messages, which an answer has in its field `items`. `columns`: a field each, as
    "column:field" where the column is called otherwise."""
    fields = [column.rpartition(":")[2] for column in columns]

    async def rows(visit: Visit, listed: Listed) -> list[Cells]:
        return [cells(message, *fields) for message in getattr(listed, items)]

    return list_download(path, name, [column.partition(":")[0] for column in columns], ask, rows, role)
