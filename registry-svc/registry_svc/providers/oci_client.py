"""A client of the OCI distribution protocol: for every provider that is itself such a registry.

Its memory is flat: what is large is passed on chunk by chunk.
"""

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import aiohttp
from ams_common.bodies import read_bounded
from yarl import URL

from registry_svc.names import digest_of
from registry_svc.providers.provider import (
    MAX_MANIFEST_BYTES,
    MEDIA_TYPES,
    OpenBlob,
    ProviderError,
    RefusedByProviderError,
    StoredManifest,
)

CHUNK_BYTES = 128 * 1024
_ACCEPT = ", ".join(sorted(MEDIA_TYPES))
# A layer takes as long as it takes; what ends the request is a provider that sends nothing any more.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
# What a client of ours can mend. Anything else is the provider's fault.
_PASSED_ON = frozenset(
    {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "MANIFEST_INVALID", "SIZE_INVALID"}
    | {"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}
)


class ProviderAuth(Protocol):
    """Gives the header that proves us to the provider."""

    async def headers(self, name: str, source: str = "") -> Mapping[str, str]:
        """Returns those of a request about `name`, which may read in `source` too. Raises ProviderError."""


class NoAuth:
    """For a registry that lets in everybody who reaches it, which must be us only."""

    async def headers(self, name: str, source: str = "") -> Mapping[str, str]:
        return {}


def open_session() -> aiohttp.ClientSession:
    """Opens a session with as many connections to the provider as there are clients."""
    # Requests are bounded where they come in. With a bound here too, a few slow clients would keep all others
    # from the provider.
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=_TIMEOUT,
        # What is passed on must be the very bytes that have the digest.
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "ams-registry"},
    )


class OciClient:
    """The provider at `url`: all of it for a self-hosted CNCF distribution."""

    def __init__(self, http: aiohttp.ClientSession, url: str, auth: ProviderAuth) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._auth = auth

    async def start_upload(self, name: str) -> str:
        async with self._ask("POST", name, "blobs/uploads/") as answer:
            await _expect(answer, 202)
            return self._session(answer)

    async def append(self, name: str, session: str, body: AsyncIterator[bytes]) -> str:
        headers = {"Content-Type": "application/octet-stream"}
        async with self._ask("PATCH", name, session, data=body, headers=headers) as answer:
            await _expect(answer, 202)
            return self._session(answer)

    async def find_upload(self, name: str, session: str) -> tuple[str, int] | None:
        async with self._ask("GET", name, session) as answer:
            try:
                await _expect(answer, 204, 404)
            except RefusedByProviderError:
                # The session says how many bytes there are. Where distribution counted others, as after a
                # process that was killed, it refuses every request with this session.
                return None
            if answer.status == 404:
                return None
            last = int(answer.headers["Range"].rpartition("-")[2])
            return self._session(answer), last + 1 if last else 0

    async def finish_upload(self, name: str, session: str, digest: str) -> None:
        joint = "&" if "?" in session else "?"
        async with self._ask("PUT", name, f"{session}{joint}digest={digest}") as answer:
            await _expect(answer, 201)

    async def cancel_upload(self, name: str, session: str) -> None:
        # One that has gone on with another session is refused: the provider throws it away when it is old.
        with suppress(RefusedByProviderError):
            async with self._ask("DELETE", name, session) as answer:
                await _expect(answer, 204, 202, 404)

    async def mount_blob(self, name: str, digest: str, source: str) -> str | None:
        path = f"blobs/uploads/?mount={digest}&from={source}"
        async with self._ask("POST", name, path, source=source) as answer:
            if answer.status not in (401, 403, 404):
                await _expect(answer, 201, 202)
                return None if answer.status == 201 else self._session(answer)
        return await self.start_upload(name)

    async def find_blob(self, name: str, digest: str) -> int | None:
        async with self._ask("HEAD", name, f"blobs/{digest}", allow_redirects=True) as answer:
            await _expect(answer, 200, 404)
            return int(answer.headers["Content-Length"]) if answer.status == 200 else None

    @asynccontextmanager
    async def open_blob(self, name: str, digest: str, byte_range: str = "") -> AsyncIterator[OpenBlob | None]:
        headers = {"Range": byte_range} if byte_range else {}
        path = f"blobs/{digest}"
        async with self._ask("GET", name, path, headers=headers, allow_redirects=True) as answer:
            await _expect(answer, 200, 206, 404, 416)
            if answer.status == 404:
                yield None
                return
            if answer.status == 416:
                # Reading its body would fail: distribution announces more than it sends.
                yield OpenBlob(416, 0, "", _nothing())
                return
            length = int(answer.headers.get("Content-Length", "0"))
            content_range = answer.headers.get("Content-Range", "")
            yield OpenBlob(answer.status, length, content_range, _chunks(answer))

    async def put_manifest(self, name: str, reference: str, media_type: str, body: bytes) -> None:
        # As a file: aiohttp warns of large bytes, which it would send in one piece.
        headers, content = {"Content-Type": media_type}, io.BytesIO(body)
        async with self._ask("PUT", name, f"manifests/{reference}", data=content, headers=headers) as answer:
            await _expect(answer, 201)

    async def find_manifest(self, name: str, digest: str) -> StoredManifest | None:
        headers = {"Accept": _ACCEPT}
        async with self._ask("GET", name, f"manifests/{digest}", headers=headers) as answer:
            await _expect(answer, 200, 404)
            if answer.status == 404:
                return None
            body = await _read_manifest(answer)
            # Not every client checks what it gets against the digest that it asked for.
            if digest_of(body) != digest:
                raise ProviderError(f"the provider's manifest is not {digest}")
            return StoredManifest(digest, answer.headers["Content-Type"].partition(";")[0], body)

    async def delete_manifest(self, name: str, digest: str) -> None:
        async with self._ask("DELETE", name, f"manifests/{digest}") as answer:
            await _expect(answer, 202, 200, 404)

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        name: str,
        path: str,
        *,
        source: str = "",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a request about `name`. Raises ProviderError for faults of the transport."""
        sent = {**await self._auth.headers(name, source), **(headers or {})}
        options.setdefault("allow_redirects", False)
        try:
            # As it is: a session's query is signed by distribution, and yarl would encode it anew.
            async with self._http.request(
                method, URL(f"{self._url}/v2/{name}/{path}", encoded=True), headers=sent, **options
            ) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProviderError(repr(error)) from error

    def _session(self, answer: aiohttp.ClientResponse) -> str:
        """Finds the upload's path after the image's name, "blobs/uploads/<id>?…". Raises ProviderError."""
        location = urlsplit(urljoin(str(answer.url), answer.headers.get("Location", "")))
        _, found, rest = location.path.partition("/blobs/uploads/")
        if not found or not rest:
            raise ProviderError("the provider gave no place to upload to")
        return f"blobs/uploads/{rest}" + (f"?{location.query}" if location.query else "")


async def _nothing() -> AsyncIterator[bytes]:
    no_chunks: tuple[bytes, ...] = ()
    for chunk in no_chunks:
        yield chunk


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            yield chunk
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ProviderError(repr(error)) from error


async def _read_manifest(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await read_bounded(answer.content.iter_any(), MAX_MANIFEST_BYTES)
    except ValueError:
        raise ProviderError("the provider's manifest is too large") from None


async def _expect(answer: aiohttp.ClientResponse, *statuses: int) -> None:
    """Raises RefusedByProviderError for what the client can mend, else ProviderError."""
    if answer.status in statuses:
        return
    text = (await answer.content.read(CHUNK_BYTES)).decode(errors="replace")
    raise fault(f"{answer.method} {answer.url.path}", answer.status, text)


def fault(request: str, status: int, text: str) -> RefusedByProviderError | ProviderError:
    """Makes the exception that a registry's unsuccessful answer means to us."""
    try:
        first = json.loads(text)["errors"][0]
        code, message = str(first["code"]), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        code, message = "", ""
    if code in _PASSED_ON:
        return RefusedByProviderError(code, message)
    return ProviderError(f"{request} answered {status} {code}: {text[:200]}")
