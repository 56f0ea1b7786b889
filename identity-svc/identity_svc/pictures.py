"""Pictures that people send in: read with suspicion, and made anew, so that nothing of the file but what can
be seen is kept."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from uuid import UUID

from ams_common.errors import FieldViolation, InvalidArgumentError
from PIL import Image, ImageOps

MEDIA_TYPE = "image/webp"
_FORMATS = ("PNG", "JPEG", "WEBP")
_MOST_PIXELS = 16_000_000
_PORTRAIT_SIDE = 256
_LOGO_SIZE = (512, 256)
# Each holds a whole picture in memory.
_working = asyncio.Semaphore(2)


def picture_path(picture_id: UUID | None) -> str:
    """Where the web UI shows it; "" for none."""
    return f"/pictures/{picture_id}" if picture_id is not None else ""


async def portrait(content: bytes) -> bytes:
    """The middle of a picture as a square WebP. Raises InvalidArgumentError picture_invalid."""
    return await _remade(content, lambda image: ImageOps.fit(image, (_PORTRAIT_SIDE, _PORTRAIT_SIDE)))


async def logo(content: bytes) -> bytes:
    """A picture as a WebP that fits into its place, with nothing cut off. Raises InvalidArgumentError
    picture_invalid."""

    def fitted(image: Image.Image) -> Image.Image:
        image.thumbnail(_LOGO_SIZE)
        return image

    return await _remade(content, fitted)


async def _remade(content: bytes, shape: Callable[[Image.Image], Image.Image]) -> bytes:
    async with _working:
        return await asyncio.to_thread(_remake, content, shape)


def _remake(content: bytes, shape: Callable[[Image.Image], Image.Image]) -> bytes:
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as opened:
            # Before anything is unpacked: a small file can hold a picture that fills the memory.
            if opened.width * opened.height > _MOST_PIXELS:
                raise _invalid("has too many pixels: at most 16 million")
            upright = ImageOps.exif_transpose(opened)
            image = shape(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    except InvalidArgumentError:
        raise
    except Exception:  # a decoder raises whatever it comes across in a broken file
        raise _invalid("must be a PNG, JPEG or WebP picture") from None
    remade = BytesIO()
    image.save(remade, "WEBP", quality=85, method=4)
    return remade.getvalue()


def _invalid(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "picture_invalid", f"The picture {problem}.", [FieldViolation("content", problem)]
    )
