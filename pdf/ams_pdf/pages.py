"""Pages to write on: Roboto for Latin, Greek and Cyrillic, Noto for what it lacks. Pure: the same text gives
the same bytes.

A font for Chinese, Japanese and Korean takes a second to read, so each is read when a text first needs it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from typing import Any, Literal

from fpdf import FPDF
from fpdf.fonts import TTFFont

FONT = "Roboto"
# They tell of every text with a letter that a font doesn't have.
logging.getLogger("fpdf.output").setLevel(logging.ERROR)
logging.getLogger("fontTools").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Script:
    """Letters that Roboto lacks, as ranges of code points, both ends with. `is_shaped`: they run from right
    to left, or are joined: each looks different beside others. `weight`: what a variable font is set to."""

    font: str
    file: Traversable
    ranges: Sequence[tuple[int, int]]
    is_shaped: bool = False
    weight: float | None = None

    def is_in(self, text: str) -> bool:
        """Whether a letter of it is in the text."""
        return any(first <= ord(letter) <= last for letter in text for first, last in self.ranges)


SCRIPTS = (
    Script(
        "Noto Sans Arabic",
        files("fontpkg_noto_sans_arabic") / "files" / "NotoSansArabic[wdth,wght].ttf",
        ((0x600, 0x6FF), (0x750, 0x77F), (0x870, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
        is_shaped=True,
        weight=400,
    ),
    Script(
        "Noto Sans Hebrew",
        files("pylopdf_fonts_he") / "NotoSansHebrew-Variable.ttf",
        ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
        is_shaped=True,
        weight=400,
    ),
    Script(
        "Noto Sans CJK",
        files("noto_cjk_sans_jp_regular") / "NotoSansCJKjp-Regular.otf",
        (
            *((0x1100, 0x11FF), (0x2E80, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF)),
            *((0xFE30, 0xFE4F), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF)),
        ),
    ),
)


class Pages(FPDF):
    """`FONT` has the styles "" and "B"; other scripts have one weight."""

    def __init__(self, orientation: Literal["portrait", "landscape"] = "portrait") -> None:
        super().__init__(orientation=orientation, format="A4")
        self._loaded: list[Script] = []
        fonts = files("font_roboto") / "files"
        self.add_font(FONT, "", str(fonts / "Roboto-Regular.ttf"))
        self.add_font(FONT, "B", str(fonts / "Roboto-Medium.ttf"))

    def add_font(self, *args: Any, **more: Any) -> None:
        """As FPDF's. The file is read to its end and closed: FPDF reads it as letters are needed, and never
        closes it."""
        before = set(self.fonts)
        super().add_font(*args, **more)
        for name in self.fonts.keys() - before:
            font = self.fonts[name]
            if isinstance(font, TTFFont):
                with font.ttfont.reader.file as opened:
                    opened.seek(0)
                    font.ttfont.reader.file = BytesIO(opened.read())

    def cell(
        self, w: float | None = None, h: float | None = None, text: str = "", *args: Any, **more: Any
    ) -> Any:
        self._prepare(text)
        return super().cell(w, h, text, *args, **more)

    def multi_cell(self, w: float, h: float | None = None, text: str = "", *args: Any, **more: Any) -> Any:
        self._prepare(text)
        return super().multi_cell(w, h, text, *args, **more)

    def fitted(self, text: str, width_mm: float) -> str:
        """As much of it as a cell of that width holds, in the font that is set; "…" stands for the rest."""
        self._prepare(text)
        room_mm = width_mm - 2 * self.c_margin
        if self.get_string_width(text) <= room_mm:
            return text
        while text and self.get_string_width(f"{text}…") > room_mm:
            text = text[:-1]
        return f"{text.rstrip()}…"

    def _prepare(self, text: str) -> None:
        """Reads the fonts that the text needs, and has it shaped where its script is."""
        if text.isascii():
            self.set_text_shaping(False)
            return
        scripts = [script for script in SCRIPTS if script.is_in(text)]
        for script in scripts:
            if script not in self._loaded:
                self._load(script)
        self.set_text_shaping(any(script.is_shaped for script in scripts))

    def _load(self, script: Script) -> None:
        variations = {"wght": script.weight} if script.weight is not None else None
        self.add_font(script.font, "", str(script.file), variations=variations)
        self._loaded.append(script)
        # Not of the same style only: a heading's letters may be of a script that has one weight.
        self.set_fallback_fonts([each.font for each in self._loaded], exact_match=False)
