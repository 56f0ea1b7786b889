"""Layers: uploads and downloads, passed through chunk by chunk."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from registry_svc import names
from registry_svc.access_tokens import PULL, PUSH, Access
from registry_svc.front_tokens import Door
from registry_svc.oci_errors import OciError
from registry_svc.provider import ImageRegistryProvider, OpenBlob
from registry_svc.store import Store, Upload

# How long a client may be silent in the middle of an upload, and how long an upload may lie.
_SILENCE_S = 60.0
_UPLOAD_LIFE = timedelta(days=7)
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Blobs:
    """/v2/<name>/blobs/…"""

    def __init__(
        self, door: Door, provider: ImageRegistryProvider, database: Database, store: Store, *, max_bytes: int
    ) -> None:
        self._door = door
        self._provider = provider
        self._database = database
        self._store = store
        self._max_bytes = max_bytes

    async def blob(self, request: Request) -> Response:
        """GET and HEAD of a layer; DELETE is nobody's, for versions may share layers."""
        name, digest = image_name(request), _digest(request.path_params["digest"])
        if request.method == "DELETE":
            raise OciError("UNSUPPORTED", "Layers can't be deleted: delete the image.")
        if request.method == "HEAD":
            self._require_head(request, name)
            size_bytes = await self._provider.find_blob(name, digest)
            if size_bytes is None:
                raise _no_blob()
            return Response(headers=_blob_headers(digest, size_bytes))
        self._door.require(request, name, PULL)
        return await self._download(name, digest, request.headers.get("range", ""))

    def _require_head(self, request: Request, name: str) -> None:
        """An answer to HEAD can't carry the reason of a refusal: a client that is told of no layer goes on
        to what can."""
        try:
            self._door.require(request, name, PULL)
        except OciError as refusal:
            raise (_no_blob() if refusal.code == "DENIED" else refusal) from None

    async def start(self, request: Request) -> Response:
        """POST: a new upload; with `digest` the whole layer at once, with `mount` a layer of another image
        that the client may read."""
        name = image_name(request)
        access = self._door.require(request, name, PUSH)
        publisher = await self._door.gatekeeper.push_again(access, name)
        mount, source = request.query_params.get("mount", ""), request.query_params.get("from", "")
        # Without the right to read there nothing tells whether the layer exists: it is a plain upload.
        if names.is_digest(mount) and names.is_name(source) and access.allows(source, PULL):
            session = await self._provider.mount_blob(name, mount, source)
            if session is None:
                return _created(name, mount)
        else:
            session = await self._provider.start_upload(name)
        upload = Upload(uuid7(), session, 0)
        async with self._database.change_by_system("upload", audited=False) as change:
            now = utc_now()
            await self._store.forget_uploads(change.connection, now - _UPLOAD_LIFE)
            await self._store.add_upload(
                change.connection,
                upload.upload_id,
                name=name,
                push_token_id=publisher.token.push_token_id,
                session=session,
                changed_at=now,
            )
        if digest := request.query_params.get("digest", ""):
            return await self._finish(request, name, upload, digest)
        return _accepted(name, upload)

    async def upload(self, request: Request) -> Response:
        """GET tells how much is there, PATCH adds, PUT ends, DELETE cancels."""
        name = image_name(request)
        access = self._door.require(request, name, PUSH)
        upload = await self._find(request, access, name)
        if request.method == "PATCH":
            return _accepted(name, await self._append(request, name, upload))
        if request.method == "PUT":
            return await self._finish(request, name, upload, request.query_params.get("digest", ""))
        if request.method == "DELETE":
            await self._end(name, upload, cancel=True)
            return Response(status_code=204)
        return Response(status_code=204, headers=_upload_headers(name, upload))

    async def _download(self, name: str, digest: str, byte_range: str) -> Response:
        async with AsyncExitStack() as stack:
            blob = await stack.enter_async_context(self._provider.open_blob(name, digest, byte_range))
            if blob is None:
                raise _no_blob()
            if blob.status == 416:
                raise OciError("RANGE_INVALID", "This part of the layer doesn't exist.")
            return BlobResponse(digest, blob, stack.pop_all())

    async def _find(self, request: Request, access: Access, name: str) -> Upload:
        unknown = OciError("BLOB_UPLOAD_UNKNOWN", "There is no such upload.")
        kind, _, owner = access.credential.partition(":")
        if kind != "push":
            raise unknown
        try:
            upload_id = UUID(request.path_params["upload"])
        except ValueError:
            raise unknown from None
        async with self._database.read() as connection:
            upload = await self._store.find_upload(connection, upload_id, name, UUID(owner))
        if upload is None:
            raise unknown
        return upload

    async def _append(self, request: Request, name: str, upload: Upload) -> Upload:
        """The upload with the request's body at its end. A body that breaks off is kept as far as it came,
        so that the client can go on from there; then ClientDisconnect is raised."""
        _check_range(request, name, upload)
        body = Body(request, self._max_bytes - upload.size_bytes)
        session = await self._provider.append(name, upload.session, body.chunks())
        grown = Upload(upload.upload_id, session, upload.size_bytes + body.size_bytes)
        async with self._database.change_by_system("upload", audited=False) as change:
            await self._store.move_upload(change.connection, grown, utc_now())
        if body.is_too_large:
            await self._end(name, grown, cancel=True)
            raise OciError("SIZE_INVALID", f"A layer may have at most {self._max_bytes} bytes.")
        if body.is_broken:
            raise ClientDisconnect
        return grown

    async def _finish(self, request: Request, name: str, upload: Upload, digest: str) -> Response:
        digest = _digest(digest)
        if _has_body(request):
            upload = await self._append(request, name, upload)
        await self._provider.finish_upload(name, upload.session, digest)
        await self._end(name, upload, cancel=False)
        return _created(name, digest)

    async def _end(self, name: str, upload: Upload, *, cancel: bool) -> None:
        if cancel:
            await self._provider.cancel_upload(name, upload.session)
        async with self._database.change_by_system("upload", audited=False) as change:
            await self._store.end_upload(change.connection, upload.upload_id)


class Body:
    """A request's body as it comes in, counted. It ends early when the client goes away or is silent for
    too long, or when there is too much of it."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self.size_bytes = 0
        self.is_broken = False
        self.is_too_large = False

    async def chunks(self) -> AsyncIterator[bytes]:
        stream = self._request.stream()
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    chunk = await anext(stream, None)
            except (ClientDisconnect, TimeoutError):
                self.is_broken = True
                return
            if chunk is None:
                return
            if self.size_bytes + len(chunk) > self._max_bytes:
                self.is_too_large = True
                return
            if chunk:
                self.size_bytes += len(chunk)
                yield chunk


class BlobResponse(StreamingResponse):
    """A layer on its way; lets go of the provider whatever becomes of the client."""

    def __init__(self, digest: str, blob: OpenBlob, stack: AsyncExitStack) -> None:
        headers = _blob_headers(digest, blob.length)
        if blob.content_range:
            headers["Content-Range"] = blob.content_range
        super().__init__(blob.chunks, blob.status, headers)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


def image_name(request: Request) -> str:
    """The image's name in the path. Raises OciError NAME_INVALID."""
    name: str = request.path_params["name"]
    if not names.is_name(name):
        raise OciError(
            "NAME_INVALID", "An image is named <merchant>/<service> or <merchant>/<service>/<image>."
        )
    return name


def _digest(text: str) -> str:
    if not names.is_digest(text):
        raise OciError("DIGEST_INVALID", "A digest is sha256: and 64 hexadecimal digits.")
    return text


def _has_body(request: Request) -> bool:
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or length.strip("0") != ""


def _check_range(request: Request, name: str, upload: Upload) -> None:
    """Raises OciError RANGE_INVALID when the client says that its bytes belong elsewhere."""
    if (text := request.headers.get("content-range")) is None:
        return
    match = _RANGE.fullmatch(text.removeprefix("bytes ").partition("/")[0])
    if match is None or int(match[1]) != upload.size_bytes or int(match[2]) < int(match[1]):
        raise OciError("RANGE_INVALID", f"{upload.size_bytes} bytes are here.", _upload_headers(name, upload))


def _no_blob() -> OciError:
    return OciError("BLOB_UNKNOWN", "There is no such layer.")


def _blob_headers(digest: str, size_bytes: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size_bytes),
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }


def _upload_headers(name: str, upload: Upload) -> dict[str, str]:
    """Relative, so that they hold behind any proxy."""
    return {
        "Location": f"/v2/{name}/blobs/uploads/{upload.upload_id}",
        "Docker-Upload-UUID": str(upload.upload_id),
        # As distribution has it: the last byte's number, and 0 for none.
        "Range": f"0-{max(upload.size_bytes - 1, 0)}",
    }


def _accepted(name: str, upload: Upload) -> Response:
    return Response(status_code=202, headers=_upload_headers(name, upload))


def _created(name: str, digest: str) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)
