"""Layers on their way out, passed through chunk by chunk."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from registry_svc.auth.access_tokens import PULL, Access
from registry_svc.auth.authorizer import PullGrant, PullPushAuthorizer
from registry_svc.auth.errors import PullDeniedError
from registry_svc.images.denials import PullDenials
from registry_svc.images.published import PublishedImages
from registry_svc.oci.errors import OciError
from registry_svc.oci.requests import digest_in, image_name, one_range
from registry_svc.oci.streams import ConcurrencyLimit, Reauthorizer, StreamedResponse
from registry_svc.oci.tokens import TokenEndpoint
from registry_svc.providers.provider import ImageRegistryProvider


@dataclass(kw_only=True, eq=False)
class Blobs:
    """Serves /v2/<name>/blobs/<digest>."""

    tokens: TokenEndpoint
    authorizer: PullPushAuthorizer
    provider: ImageRegistryProvider
    published: PublishedImages
    denials: PullDenials
    limit: ConcurrencyLimit
    idle_timeout_s: float

    async def head_blob(self, request: Request) -> Response:
        name, digest = image_name(request), digest_in(request.path_params["digest"])
        try:
            await self._authorize(request, name, digest)
        except PullDeniedError:
            # An answer to HEAD has no body for the reason: a client that is told of no layer goes on to what
            # can carry it.
            raise _no_blob() from None
        size_bytes = await self.provider.find_blob(name, digest)
        if size_bytes is None:
            raise _no_blob()
        return Response(headers=_headers(digest, size_bytes))

    async def get_blob(self, request: Request) -> Response:
        name, digest = image_name(request), digest_in(request.path_params["digest"])
        access = await self._authorize(request, name, digest)
        byte_range = one_range(request.headers.get("range", ""))
        async with AsyncExitStack() as stack:
            stack.enter_context(self.limit.slot(access.credential))
            blob = await stack.enter_async_context(self.provider.open_blob(name, digest, byte_range))
            if blob is None:
                raise _no_blob()
            if blob.status == 416:
                raise OciError("RANGE_INVALID", "This part of the layer doesn't exist.")
            headers = _headers(digest, blob.length)
            if blob.content_range:
                headers["Content-Range"] = blob.content_range
            reauthorizer = Reauthorizer(partial(self.authorizer.authorize_pull, access, name, cached=True))
            return StreamedResponse(
                blob.chunks,
                blob.status,
                headers,
                # From here on the response lets go of the provider; what fails before lets go here.
                stack.pop_all(),
                reauthorizer,
                idle_timeout_s=self.idle_timeout_s,
            )

    async def delete_blob(self, request: Request) -> Response:
        """Refused to everybody, for versions may share layers."""
        image_name(request)
        digest_in(request.path_params["digest"])
        raise OciError("UNSUPPORTED", "Layers can't be deleted: delete the image.")

    async def _authorize(self, request: Request, name: str, digest: str) -> Access:
        """Returns the access token of who may pull it. For a consumer there are only the layers of active
        versions."""
        async with self.denials.recorded(name, digest):
            access = self.tokens.require(request, name, PULL)
            who = await self.authorizer.authorize_pull(access, name, cached=True)
        if isinstance(who, PullGrant) and not await self.published.has_active_blob(name, digest):
            raise _no_blob()
        return access


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
