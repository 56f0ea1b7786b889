"""Names in any script print as what they are: each letter is drawn, by a font that has it."""

from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
import pytest
from ams_pdf.pages import FONT, Pages
from fpdf.enums import XPos, YPos
from PIL.Image import Image

JAPANESE, CHINESE, KOREAN = "株式会社テスト", "测试有限公司", "주식회사테스트"
ARABIC, HEBREW = "شركة الاختبار للبيانات", "חברת הבדיקה"
# Of private use: no font has it, so what is drawn for it is what is drawn for any letter that lacks.
NOBODYS = "\ue000"
_SCALE = 4


def page_of(*texts: str, style: str = "") -> pypdfium2.PdfPage:
    return pypdfium2.PdfDocument(bytes_of(*texts, style=style))[0]


def bytes_of(*texts: str, style: str = "") -> bytes:
    pages = Pages()
    pages.set_creation_date(datetime(2026, 11, 1, tzinfo=UTC))
    pages.add_page()
    pages.set_font(FONT, style, 24)
    for text in texts:
        pages.multi_cell(0, 12, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    return bytes(pages.output())


def drawn(page: pypdfium2.PdfPage) -> dict[str, list[bytes]]:
    """By letter, what is drawn where it stands: pixels of its own box."""
    image = page.render(scale=_SCALE).to_pil().convert("L").point(lambda value: 0 if value < 128 else 255)
    text, height = page.get_textpage(), page.get_height()
    found: dict[str, list[bytes]] = {}
    for index in range(text.count_chars()):
        left, bottom, right, top = text.get_charbox(index)
        box = tuple(round(_SCALE * value) for value in (left, height - top, right, height - bottom))
        if box[0] < box[2] and box[1] < box[3]:
            crop = image.crop(box)
            found.setdefault(text.get_text_range(index, 1), []).append(
                repr(crop.size).encode() + crop.tobytes()
            )
    return found


def has_ink(picture: bytes) -> bool:
    return b"\x00" in picture.partition(b")")[2]


def test_a_font_keeps_no_file_open() -> None:
    """Whether the document is ever written or not."""
    pages = Pages()
    pages.add_page()
    pages.set_font(FONT, "", 24)
    pages.multi_cell(0, 12, f"Name {HEBREW}")
    opened = [each.readlink().name for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert [name for name in opened if name.endswith((".ttf", ".otf"))] == []
    assert pages.output()


@pytest.mark.parametrize("style", ["", "B"])
@pytest.mark.parametrize("text", [JAPANESE, CHINESE, KOREAN, HEBREW, "Zażółć", "Ελληνικά", "Привет"])
def test_each_letter_is_drawn_as_itself(text: str, style: str) -> None:
    letters = set(text) - {" "}
    pictures = drawn(page_of(text, style=style))
    assert letters <= pictures.keys(), page_of(text, style=style).get_textpage().get_text_range()
    assert all(has_ink(picture) for letter in letters for picture in pictures[letter])
    # The box that stands for a letter that lacks is the same for each.
    assert len({pictures[letter][0] for letter in letters}) == len(letters)


def test_a_letter_that_nobody_has_is_told_apart() -> None:
    """So that the test above can fail."""
    pictures = drawn(page_of(NOBODYS + "A" + chr(ord(NOBODYS) + 1)))
    others = [picture for letter, own in pictures.items() if letter != "A" for picture in own]
    assert len(set(others)) <= 1


def ink(*texts: str) -> Image:
    """The part of the page that has anything on it, black on white."""
    image = (
        page_of(*texts).render(scale=_SCALE).to_pil().convert("L").point(lambda value: 255 * (value < 128))
    )
    cropped: Image = image.crop(image.getbbox())
    return cropped


def test_arabic_letters_are_drawn_as_themselves() -> None:
    letters = set(ARABIC) - {" "}
    pictures = {ink(letter).tobytes() for letter in letters}
    assert len(pictures) == len(letters)
    assert ink(NOBODYS).tobytes() not in pictures


def test_arabic_is_joined() -> None:
    """A letter that is kept from joining its neighbours has another form, and takes more room."""
    assert ink("\u200c".join("للبيانات")).width > ink("للبيانات").width


@pytest.mark.parametrize(("tall", "flat"), [("ا", "ـ"), ("ל", "־")])
def test_letters_run_from_right_to_left(tall: str, flat: str) -> None:
    image = ink(tall + 6 * flat)
    edge = image.width // 20

    def height(left: int) -> int:
        box = image.crop((left, 0, left + edge, image.height)).getbbox()
        return int(box[3] - box[1]) if box else 0

    assert height(image.width - edge) > 2 * height(0) > 0


def test_scripts_stand_beside_each_other_and_figures_stay_as_they_are() -> None:
    text = page_of(f"{JAPANESE} GmbH 12.50 EUR", f"{HEBREW} 12.50 EUR").get_textpage().get_text_range()
    assert f"{JAPANESE} GmbH 12.50 EUR" in text
    assert "12.50" in text.splitlines()[1]


def test_a_font_is_read_when_a_text_needs_it() -> None:
    assert len(bytes_of("Zażółć gęślą jaźń")) < 40_000
    assert b"NotoSansCJK" not in bytes_of("Plain")
    assert b"NotoSansCJK" in bytes_of(JAPANESE)


def test_the_same_text_is_the_same_file() -> None:
    texts = (JAPANESE, ARABIC, HEBREW, "Plain")
    assert bytes_of(*texts) == bytes_of(*texts)
