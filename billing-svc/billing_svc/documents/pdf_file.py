"""An invoice as PDF. Pure: the same document gives the same bytes."""

from datetime import datetime

from ams_pdf.pages import FONT, Pages
from fpdf.enums import XPos, YPos

from billing_svc.documents.content import Document, DocumentLine, Fact

_QUIET = (87, 96, 106)
_INK = (27, 31, 36)
_LINE_MM = 5.0


def pdf_of(document: Document, created_at: datetime) -> bytes:
    """`created_at` is the file's own date: that of the invoice, so that the same invoice is the same file."""
    pdf = _Pdf(document.title)
    pdf.set_creation_date(created_at)
    pdf.set_title(document.title)
    pdf.set_producer("AMS")
    pdf.set_lang("en")
    pdf.add_page()
    pdf.heading(document.title, 18)
    pdf.text_line(document.merchant_name)
    pdf.ln(2)
    pdf.facts(document.facts)
    pdf.heading("Lines", 13)
    for line in document.lines:
        pdf.invoice_line(line)
    pdf.sums(document.sums)
    if document.not_charged:
        pdf.heading("What is charged and what isn't", 13)
        for sentence in document.not_charged:
            pdf.text_line(sentence)
    if document.corrections:
        pdf.heading("Corrections", 13)
        for sentence in document.corrections:
            pdf.text_line(sentence)
    return bytes(pdf.output())


class _Pdf(Pages):
    def __init__(self, title: str) -> None:
        super().__init__()
        self._running_title = title
        self.set_auto_page_break(True, margin=18)
        self._ink()

    def footer(self) -> None:
        self.set_y(-12)
        self._quiet(8)
        self.cell(0, 5, f"{self._running_title}, page {self.page_no()} of {{nb}}", align="C")
        self._ink()

    def heading(self, text: str, size: float) -> None:
        self.ln(3)
        self.set_font(FONT, "B", size)
        self._words(text, size * 0.5)
        self._ink()

    def text_line(self, text: str) -> None:
        self._words(text, _LINE_MM)

    def facts(self, facts: tuple[Fact, ...]) -> None:
        for fact in facts:
            self._quiet(9.5)
            self.cell(32, _LINE_MM, fact.label)
            self._ink()
            self._words(fact.value, _LINE_MM)

    def invoice_line(self, line: DocumentLine) -> None:
        # What belongs together isn't torn apart unless it is longer than a page.
        needed = (4 + len(line.facts) + len(line.steps)) * _LINE_MM
        if self.will_page_break(min(needed, 150)):
            self.add_page()
        self.set_draw_color(208, 215, 222)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())
        self.ln(1)
        amount_width = 45.0
        top, page = self.get_y(), self.page
        self.set_font(FONT, "B", 10)
        self.multi_cell(
            self.epw - amount_width,
            _LINE_MM,
            f"{line.position}. {line.title} ({line.kind})",
            align="L",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        bottom = self.get_y()
        if self.page == page:
            self.set_xy(self.w - self.r_margin - amount_width, top)
        self.cell(amount_width, _LINE_MM, line.amount, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_y(max(bottom, self.get_y()))
        self._ink()
        self._words(line.description, _LINE_MM)
        if line.quantity:
            self._words(f"Quantity: {line.quantity}", _LINE_MM)
        self._steps(line)
        self._quiet(8)
        for fact in line.facts:
            self._words(f"{fact.label}: {fact.value}", 4)
        self._ink()
        self.ln(2)

    def sums(self, sums: tuple[Fact, ...]) -> None:
        self.line(self.w / 2, self.get_y(), self.w - self.r_margin, self.get_y())
        self.ln(1)
        self.set_font(FONT, "B", 10)
        for fact in sums:
            self.set_x(self.w / 2)
            self.cell(self.epw / 4, _LINE_MM, fact.label)
            self.cell(0, _LINE_MM, fact.value, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self._ink()

    def _steps(self, line: DocumentLine) -> None:
        if not line.steps:
            return
        self.set_font(FONT, "", 8)
        self.set_text_color(*_QUIET)
        self._row(("Units", "Quantity", "Each", "Flat", "Exactly"))
        self.set_text_color(*_INK)
        for step in line.steps:
            self._row((step.span, step.quantity, step.unit_amount, step.flat_amount, step.amount))
        self._ink()

    def _row(self, cells: tuple[str, ...]) -> None:
        # Figures alone: the longest that there can be fits.
        for at, cell in enumerate(cells):
            self.cell(self.epw / len(cells), 4, cell, align="R" if at else "L")
        self.ln(4)

    def _words(self, text: str, height: float) -> None:
        # Without markdown: a stranger's text is only text.
        self.multi_cell(0, height, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _ink(self) -> None:
        self.set_font(FONT, "", 10)
        self.set_text_color(*_INK)

    def _quiet(self, size: float) -> None:
        self.set_font(FONT, "", size)
        self.set_text_color(*_QUIET)
