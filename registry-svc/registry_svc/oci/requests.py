"""What stands in requests to /v2/: names, references, ranges and bodies. Raises OciError for what is none."""

import asyncio
import re
from collections.abc import AsyncIterator

from ams_common import bodies
from starlette.requests import Request

from registry_svc import names
from registry_svc.oci.errors import OciError

# One range of a layer. An answer with several, which nobody needs, would have another form.
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")


def image_name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not names.is_name(name):
        raise OciError(
            "NAME_INVALID", "An image is named <merchant>/<service> or <merchant>/<service>/<image>."
        )
    return name


def digest_in(text: str) -> str:
    if not names.is_digest(text):
        raise OciError("DIGEST_INVALID", "A digest is sha256: and 64 hexadecimal digits.")
    return text


def tag_in(text: str) -> str:
    if not names.is_tag(text):
        raise OciError("TAG_INVALID", "This is not a tag.")
    return text


def reference_in(text: str) -> str:
    return digest_in(text) if ":" in text else tag_in(text)


def one_range(header: str) -> str:
    """Returns the Range header when it asks for one range; "", which is the whole, when it is anything
    else."""
    return header if _ONE_RANGE.fullmatch(header) else ""


async def iter_with_idle_timeout(request: Request, idle_timeout_s: float) -> AsyncIterator[bytes]:
    """Yields the chunks of the request's body. Raises ClientDisconnect, and OciError when nothing came for
    too long."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                chunk = await anext(stream, None)
        except TimeoutError:
            message = (
                f"Nothing came for {idle_timeout_s:g} seconds. What came before is kept: go on from there."
            )
            raise OciError("BLOB_UPLOAD_INVALID", message, {"Connection": "close"}, status=408) from None
        if chunk is None:
            return
        if chunk:
            yield chunk


async def read_bounded(request: Request, max_bytes: int, timeout_s: float = 60.0) -> bytes:
    """Reads the whole body, for what is small. Raises OciError when it isn't, or comes too slowly."""
    try:
        async with asyncio.timeout(timeout_s):
            return await bodies.read_bounded(request.stream(), max_bytes)
    except ValueError:
        message = f"This may have at most {max_bytes} bytes."
        # The rest of the body is left unread: the connection can't be used for anything else.
        raise OciError("SIZE_INVALID", message, {"Connection": "close"}) from None
    except TimeoutError:
        message = f"Not all of it came within {timeout_s:g} seconds."
        raise OciError("UNKNOWN", message, {"Connection": "close"}, status=408) from None
