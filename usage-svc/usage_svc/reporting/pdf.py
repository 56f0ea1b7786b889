"""A report as PDF: a table for reading and printing, not for machines, so it is bounded."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from ams_pdf.pages import FONT, Pages
from fpdf.enums import XPos, YPos

from usage_svc.reporting.reports import Report
from usage_svc.reporting.tables import Column, Kind

MAX_ROWS = 5_000
_LINE_MM = 4.0
_SIZE = 6
_BOTTOM_MM = 12.0
_IN_WORDS = {
    "status_class": "Status",
    "billable_requests": "Billable",
    "mean_response_time_ms": "Mean time (ms)",
    "consumer_id": "Consumer",
}


class TooManyRowsError(Exception):
    """More than anybody would read."""


class PdfWriter:
    """Draws row by row; the page's heading and the table's stand on each page, the sums at the end."""

    def __init__(self, report: Report, columns: Sequence[Column], file: BinaryIO) -> None:
        self._file = file
        self._shown = [(index, column) for index, column in enumerate(columns) if column.width_mm]
        names = [column.name for column in columns]
        self._spend_at = names.index("spend"), names.index("currency")
        self._sums = {index: 0 for index, column in self._shown if column.kind is Kind.COUNT}
        self._spent: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._rows = 0
        title = f"Usage from {report.first_day} to {report.last_day} (days in UTC)"
        self._pdf = _Pages(title, [column for _, column in self._shown])
        # The same report made twice is the same file.
        self._pdf.set_creation_date(report.created_at)
        self._pdf.add_page()

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Raises TooManyRowsError."""
        self._rows += len(rows)
        if self._rows > MAX_ROWS:
            raise TooManyRowsError
        for row in rows:
            for index in self._sums:
                self._sums[index] += row[index]
            spend, currency = (row[index] for index in self._spend_at)
            if spend is not None:
                self._spent[currency] += spend
            self._pdf.line_of([_cell(row[index]) for index, _ in self._shown])

    def finish(self) -> None:
        self._pdf.set_font(FONT, "B", _SIZE)
        words = ["Total", *(f"{self._sums[i]:,}" if i in self._sums else "" for i, _ in self._shown[1:])]
        self._pdf.line_of(words)
        for currency, spent in sorted(self._spent.items()):
            self._pdf.cell(
                0, _LINE_MM, f"Spend: {_cell(spent)} {currency}", new_x=XPos.LMARGIN, new_y=YPos.NEXT
            )
        self._file.write(bytes(self._pdf.output()))

    def close(self) -> None:
        pass


class _Pages(Pages):
    def __init__(self, title: str, columns: Sequence[Column]) -> None:
        super().__init__("landscape")
        self._columns = columns
        self._words = title
        self.set_title(title)
        self.set_auto_page_break(True, _BOTTOM_MM)

    def header(self) -> None:
        self.set_font(FONT, "B", 11)
        self.cell(0, 8, self._words, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(FONT, "B", _SIZE)
        self.line_of([_heading(column.name) for column in self._columns])
        self.set_font(FONT, "", _SIZE)

    def footer(self) -> None:
        self.set_y(-_BOTTOM_MM)
        self.set_font(FONT, "", _SIZE)
        self.cell(0, _LINE_MM, f"Page {self.page_no()}", align="R")

    def line_of(self, words: Sequence[str]) -> None:
        """A row of the table."""
        for column, text in zip(self._columns, words, strict=True):
            align = "L" if column.kind in (Kind.TEXT, Kind.DAY, Kind.MOMENT) else "R"
            self.cell(column.width_mm, _LINE_MM, self.fitted(text, column.width_mm), align=align)
        self.ln(_LINE_MM)


def _heading(name: str) -> str:
    return _IN_WORDS.get(name, name.replace("_", " ").capitalize())


def _cell(cell: Any) -> str:
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M}"
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return f"{cell:,f}"
    if cell is None:
        return "–"
    return f"{cell:,}" if isinstance(cell, int | float) else str(cell)
