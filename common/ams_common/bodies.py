"""Bodies that somebody else sends, read whole and within a bound."""

from collections.abc import AsyncIterable


async def read_bounded(chunks: AsyncIterable[bytes], most_bytes: int) -> bytes:
    """All of them, however they come. Raises ValueError when that is more than `most_bytes`."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            raise ValueError(f"more than {most_bytes} bytes")
    return bytes(body)
