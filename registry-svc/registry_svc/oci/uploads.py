"""Layers on their way in, passed through chunk by chunk."""

import re
from functools import partial
from uuid import UUID

from ams_common.ids import uuid7
from starlette.requests import Request
from starlette.responses import Response

from registry_svc import names
from registry_svc.auth.access_tokens import PULL, PUSH, Access
from registry_svc.auth.authorizer import Principal, Publisher
from registry_svc.images.uploads import Uploads
from registry_svc.oci.errors import OciError
from registry_svc.oci.requests import digest_in, image_name
from registry_svc.oci.streams import Body, Streams, Watch
from registry_svc.oci.tokens import Door
from registry_svc.providers.provider import ImageRegistryProvider
from registry_svc.storage.uploads import Upload

_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class UploadFront:
    """/v2/<name>/blobs/uploads/…"""

    def __init__(
        self,
        door: Door,
        provider: ImageRegistryProvider,
        uploads: Uploads,
        streams: Streams,
        *,
        max_bytes: int,
        silence_s: float,
    ) -> None:
        self._door = door
        self._provider = provider
        self._uploads = uploads
        self._streams = streams
        self._max_bytes = max_bytes
        self._silence_s = silence_s

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
        await self._uploads.add(upload, name, publisher.token.push_token_id)
        if digest := request.query_params.get("digest", ""):
            return await self._finish(request, access, name, upload, digest)
        return _accepted(name, upload)

    async def upload(self, request: Request) -> Response:
        """GET tells how much is there, PATCH adds, PUT ends, DELETE cancels."""
        name = image_name(request)
        access = self._door.require(request, name, PUSH)
        who = await self._door.gatekeeper.still_pushes(access, name)
        upload = await self._find(request, who, name)
        if request.method == "PATCH":
            return _accepted(name, await self._append(request, access, name, upload))
        if request.method == "PUT":
            return await self._finish(request, access, name, upload, request.query_params.get("digest", ""))
        if request.method == "DELETE":
            await self._uploads.cancel(name, upload)
            return Response(status_code=204)
        return Response(status_code=204, headers=_headers(name, upload))

    async def _find(self, request: Request, who: Principal, name: str) -> Upload:
        """The upload, as the provider has it. Who began it goes on with it, and nobody else."""
        try:
            upload_id = UUID(request.path_params["upload"])
        except ValueError:
            raise _no_upload() from None
        assert isinstance(who, Publisher), "only they push"
        upload = await self._uploads.find(upload_id, name, who.token.push_token_id)
        if upload is None:
            raise _no_upload()
        return upload

    async def _append(self, request: Request, access: Access, name: str, upload: Upload) -> Upload:
        """The upload with the request's body at its end. A body that breaks off is kept as far as it came,
        so that the client can go on from there; then what broke it is raised."""
        _check_range(request, name, upload)
        watch = Watch(partial(self._door.gatekeeper.still_pushes, access, name))
        body = Body(request, watch, max_bytes=self._max_bytes - upload.size_bytes, silence_s=self._silence_s)
        with self._streams.place(access.credential):
            grown = await self._uploads.append(name, upload, body)
        if grown is None:
            raise OciError("RANGE_INVALID", "Another request adds to this upload.", _headers(name, upload))
        if body.is_too_large:
            await self._uploads.cancel(name, grown)
            raise OciError("SIZE_INVALID", f"A layer may have at most {self._max_bytes} bytes.")
        if body.refusal is not None:
            raise body.refusal
        return grown

    async def _finish(
        self, request: Request, access: Access, name: str, upload: Upload, digest: str
    ) -> Response:
        digest = digest_in(digest)
        if _has_body(request):
            upload = await self._append(request, access, name, upload)
        await self._uploads.finish(name, upload, digest)
        return _created(name, digest)


def _has_body(request: Request) -> bool:
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or length.strip("0") != ""


def _check_range(request: Request, name: str, upload: Upload) -> None:
    """Raises OciError RANGE_INVALID when the client says that its bytes belong elsewhere."""
    if (text := request.headers.get("content-range")) is None:
        return
    match = _RANGE.fullmatch(text.removeprefix("bytes ").partition("/")[0])
    if match is None or int(match[1]) != upload.size_bytes or int(match[2]) < int(match[1]):
        raise OciError("RANGE_INVALID", f"{upload.size_bytes} bytes are here.", _headers(name, upload))


def _no_upload() -> OciError:
    return OciError("BLOB_UPLOAD_UNKNOWN", "There is no such upload.")


def _headers(name: str, upload: Upload) -> dict[str, str]:
    """Relative, so that they hold behind any proxy."""
    return {
        "Location": f"/v2/{name}/blobs/uploads/{upload.upload_id}",
        "Docker-Upload-UUID": str(upload.upload_id),
        # As distribution has it: the last byte's number, and 0 for none.
        "Range": f"0-{max(upload.size_bytes - 1, 0)}",
    }


def _accepted(name: str, upload: Upload) -> Response:
    return Response(status_code=202, headers=_headers(name, upload))


def _created(name: str, digest: str) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)
