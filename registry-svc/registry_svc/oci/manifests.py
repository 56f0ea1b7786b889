"""Manifests: what makes layers an image. Checked when they are pushed, metered when they are pulled."""

import time
from functools import partial

from ams_common.clock import utc_now
from ams_common.ids import uuid7
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from registry_svc import names
from registry_svc.auth.access_tokens import DELETE, PULL, PUSH
from registry_svc.auth.authorizer import PullPushAuthorizer
from registry_svc.auth.errors import PullDeniedError
from registry_svc.auth.principals import Publisher
from registry_svc.images import manifests
from registry_svc.images.denials import PullDenials
from registry_svc.images.manifests import Manifest, ManifestError
from registry_svc.images.published import PublishedImages
from registry_svc.images.publishing import ImagePublisher
from registry_svc.images.pulls import PullRecorder
from registry_svc.oci.errors import OciError
from registry_svc.oci.requests import image_name, read_bounded, reference_in, tag_in
from registry_svc.oci.tokens import TokenEndpoint
from registry_svc.providers.provider import MAX_MANIFEST_BYTES, ImageRegistryProvider, StoredManifest
from registry_svc.storage.rows import ACTIVE, REJECTED, Image

_MAX_TAGS = 1000


class Manifests:
    """Serves /v2/<name>/manifests/<reference> and /v2/<name>/tags/list."""

    def __init__(
        self,
        tokens: TokenEndpoint,
        authorizer: PullPushAuthorizer,
        provider: ImageRegistryProvider,
        publisher: ImagePublisher,
        published: PublishedImages,
        pulls: PullRecorder,
        denials: PullDenials,
        *,
        idle_timeout_s: float,
    ) -> None:
        self._tokens = tokens
        self._authorizer = authorizer
        self._provider = provider
        self._publisher = publisher
        self._published = published
        self._pulls = pulls
        self._denials = denials
        self._idle_timeout_s = idle_timeout_s

    async def list_tags(self, request: Request) -> Response:
        """The active versions; `n` and `last` page through them."""
        name = image_name(request)
        access = self._tokens.require(request, name, PULL)
        await self._authorizer.authorize_pull(access, name, cached=True)
        wanted = _count(request.query_params.get("n", ""))
        last = request.query_params.get("last", "")
        tags = await self._published.list_tags(name, tag_in(last) if last else "", wanted + 1)
        headers = {}
        if 0 < wanted < len(tags):
            tags = tags[:wanted]
            headers["Link"] = f'</v2/{name}/tags/list?n={wanted}&last={tags[-1]}>; rel="next"'
        return JSONResponse({"name": name, "tags": tags[:wanted]}, headers=headers)

    async def get_manifest(self, request: Request) -> Response:
        """A pull, which is metered; HEAD only looks what there is."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        async with self._denials.recorded(name, reference):
            return await self._pull(request, name, reference)

    async def _pull(self, request: Request, name: str, reference: str) -> Response:
        started_s = time.monotonic()
        access = self._tokens.require(request, name, PULL)
        who = await self._authorizer.authorize_pull(access, name)
        version = await self._published.find_version(access, name, reference)
        digest = reference if names.is_digest(reference) else version.digest if version is not None else ""
        if isinstance(who, Publisher):
            return _found(request, await self._stored(name, digest))
        if version is None:
            raise _unknown(reference)
        if version.status != ACTIVE:
            message = f"Version {version.tag} was taken out of use by its merchant."
            raise PullDeniedError(message, who.puller)
        stored = await self._stored(name, digest)
        if reference == version.tag:
            await self._pulls.resolve(access, version)
        if request.method == "GET":
            duration_ms = round((time.monotonic() - started_s) * 1000)
            await self._pulls.record(
                access, who, version, manifest_bytes=len(stored.body), duration_ms=duration_ms
            )
        return _found(request, stored)

    async def put_manifest(self, request: Request) -> Response:
        """A push. What can't be accepted is shown to the merchant in AMS too, if it was to be a version."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        access = self._tokens.require(request, name, PUSH)
        body = await read_bounded(request, MAX_MANIFEST_BYTES, self._idle_timeout_s)
        publisher = await self._authorizer.authorize_push(access, name)
        media_type = request.headers.get("content-type", "")
        try:
            manifest = manifests.check_manifest(media_type, body)
            if not names.is_digest(reference):
                manifests.check_tag(reference)
            elif reference != manifest.digest:
                raise ManifestError("DIGEST_INVALID", f"The manifest's digest is {manifest.digest}.")
        except ManifestError as error:
            if not names.is_digest(reference):
                rejected = _rejected(publisher, name, reference, media_type, body, error.message)
                await self._publisher.reject(publisher, rejected)
            raise
        if names.is_digest(reference):
            await self._provider.put_manifest(name, reference, manifest.media_type, body)
            await self._publisher.note_manifest(name, manifest)
        else:
            version = _version(publisher, name, reference, manifest)
            async with self._publisher.publishing(publisher, version, manifest):
                # By digest first: that can't disturb a tag that is there.
                await self._provider.put_manifest(name, manifest.digest, manifest.media_type, body)
                await self._provider.put_manifest(name, reference, manifest.media_type, body)
        headers = {
            "Location": f"/v2/{name}/manifests/{manifest.digest}",
            "Docker-Content-Digest": manifest.digest,
        }
        return Response(status_code=201, headers=headers)

    async def delete_manifest(self, request: Request) -> Response:
        """Takes the versions with this tag or digest away, for good."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        access = self._tokens.require(request, name, DELETE)
        publisher = await self._authorizer.authorize_push(access, name)
        delete_unused = partial(self._provider.delete_manifest, name)
        if not await self._publisher.delete(publisher, name, reference, delete_unused):
            raise _unknown(reference)
        return Response(status_code=202)

    async def _stored(self, name: str, digest: str) -> StoredManifest:
        stored = await self._provider.find_manifest(name, digest) if digest else None
        if stored is None:
            raise _unknown(digest or "this version")
        return stored


def _version(publisher: Publisher, name: str, tag: str, manifest: Manifest) -> Image:
    return Image(
        image_id=uuid7(),
        service_id=publisher.token.service_id,
        merchant_id=publisher.token.merchant_id,
        name=name,
        tag=tag,
        digest=manifest.digest,
        child_digests=manifest.child_digests,
        media_type=manifest.media_type,
        size_bytes=manifest.size_bytes,
        status=ACTIVE,
        rejection_reason="",
        license_model=manifest.license_model,
        pushed_at=utc_now(),
    )


def _rejected(publisher: Publisher, name: str, tag: str, media_type: str, body: bytes, reason: str) -> Image:
    return Image(
        image_id=uuid7(),
        service_id=publisher.token.service_id,
        merchant_id=publisher.token.merchant_id,
        name=name,
        tag=tag,
        digest=names.digest_of(body),
        child_digests=(),
        media_type=media_type[:200],
        size_bytes=len(body),
        status=REJECTED,
        rejection_reason=reason,
        license_model=None,
        pushed_at=utc_now(),
    )


def _found(request: Request, stored: StoredManifest) -> Response:
    headers = {
        "Docker-Content-Digest": stored.digest,
        "ETag": f'"{stored.digest}"',
        "Content-Type": stored.media_type,
        "Content-Length": str(len(stored.body)),
    }
    return Response(b"" if request.method == "HEAD" else stored.body, headers=headers)


def _count(text: str) -> int:
    return min(int(text), _MAX_TAGS) if text.isascii() and text.isdigit() and len(text) < 9 else _MAX_TAGS


def _unknown(reference: str) -> OciError:
    return OciError("MANIFEST_UNKNOWN", f"There is no {reference} here.")
