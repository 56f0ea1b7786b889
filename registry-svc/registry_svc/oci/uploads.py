"""Layers on their way in, passed through chunk by chunk. Methods are named as distribution names them."""

import re
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from ams_common.ids import uuid7
from starlette.requests import Request
from starlette.responses import Response

from registry_svc import names
from registry_svc.auth.access_tokens import PULL, PUSH, Access
from registry_svc.auth.authorizer import PullPushAuthorizer
from registry_svc.images.uploads import Uploads
from registry_svc.oci.errors import OciError
from registry_svc.oci.requests import digest_in, image_name
from registry_svc.oci.streams import ConcurrencyLimit, Reauthorizer, UploadBody
from registry_svc.oci.tokens import TokenEndpoint
from registry_svc.providers.provider import ImageRegistryProvider
from registry_svc.storage.rows import Upload

_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


@dataclass(kw_only=True, eq=False)
class BlobUploads:
    """Serves /v2/<name>/blobs/uploads/…"""

    tokens: TokenEndpoint
    authorizer: PullPushAuthorizer
    provider: ImageRegistryProvider
    uploads: Uploads
    limit: ConcurrencyLimit
    max_bytes: int
    idle_timeout_s: float

    async def start_blob_upload(self, request: Request) -> Response:
        """Begins an upload; with `digest` the body is the whole layer, with `mount` it is a layer of another
        image that the client may read."""
        name = image_name(request)
        access = self.tokens.require(request, name, PUSH)
        publisher = await self.authorizer.authorize_push(access, name)
        mount, source = request.query_params.get("mount", ""), request.query_params.get("from", "")
        # Without the right to read there nothing tells whether the layer exists: it is a plain upload.
        if names.is_digest(mount) and names.is_name(source) and access.allows(source, PULL):
            session = await self.provider.mount_blob(name, mount, source)
            if session is None:
                return _created(name, mount)
        else:
            session = await self.provider.start_upload(name)
        upload = Upload(upload_id=uuid7(), name=name, session=session)
        await self.uploads.add(upload, publisher.token.push_token_id)
        if digest := request.query_params.get("digest", ""):
            return await self._finish(request, access, upload, digest)
        return _accepted(upload)

    async def get_upload_status(self, request: Request) -> Response:
        _, upload = await self._find(request)
        return Response(status_code=204, headers=_headers(upload))

    async def patch_blob_data(self, request: Request) -> Response:
        access, upload = await self._find(request)
        return _accepted(await self._append(request, access, upload))

    async def put_blob_upload_complete(self, request: Request) -> Response:
        access, upload = await self._find(request)
        return await self._finish(request, access, upload, request.query_params.get("digest", ""))

    async def cancel_blob_upload(self, request: Request) -> Response:
        _, upload = await self._find(request)
        await self.uploads.cancel(upload)
        return Response(status_code=204)

    async def _find(self, request: Request) -> tuple[Access, Upload]:
        """Finds who asks, and the upload that the path names. Who began it goes on with it, and nobody
        else."""
        name = image_name(request)
        access = self.tokens.require(request, name, PUSH)
        publisher = await self.authorizer.authorize_push(access, name, cached=True)
        try:
            upload_id = UUID(request.path_params["upload"])
        except ValueError:
            raise _no_upload() from None
        upload = await self.uploads.find(upload_id, name, publisher.token.push_token_id)
        if upload is None:
            raise _no_upload()
        return access, upload

    async def _append(self, request: Request, access: Access, upload: Upload) -> Upload:
        """Adds the request's body, and returns the upload as it is then. A body that breaks off is kept as
        far as it came, so that the client can go on from there; then what broke it is raised."""
        _check_range(request, upload)
        body = UploadBody(
            request,
            Reauthorizer(partial(self.authorizer.authorize_push, access, upload.name, cached=True)),
            max_bytes=self.max_bytes - upload.size_bytes,
            idle_timeout_s=self.idle_timeout_s,
        )
        with self.limit.slot(access.credential):
            grown = await self.uploads.append(upload, body.chunks())
        if grown is None:
            raise OciError("RANGE_INVALID", "Another request adds to this upload.", _headers(upload))
        if body.is_too_large:
            await self.uploads.cancel(grown)
            raise OciError("SIZE_INVALID", f"A layer may have at most {self.max_bytes} bytes.")
        if body.problem is not None:
            raise body.problem
        return grown

    async def _finish(self, request: Request, access: Access, upload: Upload, digest: str) -> Response:
        digest = digest_in(digest)
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or length.strip("0"):
            upload = await self._append(request, access, upload)
        await self.uploads.finish(upload, digest)
        return _created(upload.name, digest)


def _check_range(request: Request, upload: Upload) -> None:
    """Raises OciError RANGE_INVALID when the client says that its bytes belong elsewhere."""
    if (text := request.headers.get("content-range")) is None:
        return
    match = _RANGE.fullmatch(text.removeprefix("bytes ").partition("/")[0])
    if match is None or int(match[1]) != upload.size_bytes or int(match[2]) < int(match[1]):
        raise OciError("RANGE_INVALID", f"{upload.size_bytes} bytes are here.", _headers(upload))


def _no_upload() -> OciError:
    return OciError("BLOB_UPLOAD_UNKNOWN", "There is no such upload.")


def _headers(upload: Upload) -> dict[str, str]:
    return {
        # Relative, so that it holds behind any proxy.
        "Location": f"/v2/{upload.name}/blobs/uploads/{upload.upload_id}",
        "Docker-Upload-UUID": str(upload.upload_id),
        # As distribution has it: the last byte's number, and 0 for none.
        "Range": f"0-{max(upload.size_bytes - 1, 0)}",
    }


def _accepted(upload: Upload) -> Response:
    return Response(status_code=202, headers=_headers(upload))


def _created(name: str, digest: str) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)
