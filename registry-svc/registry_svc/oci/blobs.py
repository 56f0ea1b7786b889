"""Layers on their way out, passed through chunk by chunk."""

from contextlib import AsyncExitStack
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from registry_svc.auth.access_tokens import PULL, Access
from registry_svc.auth.authorizer import Puller
from registry_svc.images.parts import Parts
from registry_svc.oci.errors import OciError
from registry_svc.oci.refusals import Refusals
from registry_svc.oci.requests import digest_in, image_name
from registry_svc.oci.streams import StreamedResponse, Streams, Watch, one_range
from registry_svc.oci.tokens import Door
from registry_svc.providers.provider import ImageRegistryProvider


class Blobs:
    """/v2/<name>/blobs/<digest>"""

    def __init__(
        self,
        door: Door,
        provider: ImageRegistryProvider,
        parts: Parts,
        refusals: Refusals,
        streams: Streams,
        *,
        silence_s: float,
    ) -> None:
        self._door = door
        self._provider = provider
        self._parts = parts
        self._refusals = refusals
        self._streams = streams
        self._silence_s = silence_s

    async def blob(self, request: Request) -> Response:
        """GET and HEAD of a layer; DELETE is nobody's, for versions may share layers."""
        name, digest = image_name(request), digest_in(request.path_params["digest"])
        if request.method == "DELETE":
            raise OciError("UNSUPPORTED", "Layers can't be deleted: delete the image.")
        if request.method == "HEAD":
            return await self._head(request, name, digest)
        access = await self._let_in(request, name, digest)
        return await self._download(access, name, digest, one_range(request.headers.get("range", "")))

    async def _head(self, request: Request, name: str, digest: str) -> Response:
        """An answer to HEAD can't carry the reason of a refusal: a client that is told of no layer goes on
        to what can."""
        try:
            await self._let_in(request, name, digest)
        except OciError as refusal:
            raise (_no_blob() if refusal.code == "DENIED" else refusal) from None
        size_bytes = await self._provider.find_blob(name, digest)
        if size_bytes is None:
            raise _no_blob()
        return Response(headers=_headers(digest, size_bytes))

    async def _let_in(self, request: Request, name: str, digest: str) -> Access:
        """Who pulls. To a consumer only layers of active versions are there."""
        async with self._refusals.written_down(request, name, digest):
            access = self._door.require(request, name, PULL)
            who = await self._door.gatekeeper.still_pulls(access, name)
        if isinstance(who, Puller) and not await self._parts.is_on_offer(name, digest):
            raise _no_blob()
        return access

    async def _download(self, access: Access, name: str, digest: str, byte_range: str) -> Response:
        async with AsyncExitStack() as stack:
            stack.enter_context(self._streams.place(access.credential))
            blob = await stack.enter_async_context(self._provider.open_blob(name, digest, byte_range))
            if blob is None:
                raise _no_blob()
            if blob.status == 416:
                raise OciError("RANGE_INVALID", "This part of the layer doesn't exist.")
            headers = _headers(digest, blob.length)
            if blob.content_range:
                headers["Content-Range"] = blob.content_range
            watch = Watch(partial(self._door.gatekeeper.still_pulls, access, name))
            return StreamedResponse(
                blob.chunks, blob.status, headers, stack.pop_all(), watch, silence_s=self._silence_s
            )


def _no_blob() -> OciError:
    return OciError("BLOB_UNKNOWN", "There is no such layer.")


def _headers(digest: str, size_bytes: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size_bytes),
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
