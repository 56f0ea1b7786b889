"""Manifests: what makes layers an image. Checked when they are pushed, metered when they are pulled."""

import time
from dataclasses import dataclass
from functools import partial

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
from registry_svc.storage.rows import ACTIVE

_MAX_TAGS = 1000


@dataclass(kw_only=True, eq=False)
class Manifests:
    """Serves /v2/<name>/manifests/<reference> and /v2/<name>/tags/list."""

    tokens: TokenEndpoint
    authorizer: PullPushAuthorizer
    provider: ImageRegistryProvider
    publisher: ImagePublisher
    published: PublishedImages
    pulls: PullRecorder
    denials: PullDenials
    idle_timeout_s: float

    async def list_tags(self, request: Request) -> Response:
        """Lists the active versions; `n` and `last` page through them."""
        name = image_name(request)
        access = self.tokens.require(request, name, PULL)
        await self.authorizer.authorize_pull(access, name, cached=True)
        wanted = _count(request.query_params.get("n", ""))
        last = request.query_params.get("last", "")
        tags = await self.published.list_tags(name, tag_in(last) if last else "", wanted + 1)
        headers = {}
        if 0 < wanted < len(tags):
            tags = tags[:wanted]
            headers["Link"] = f'</v2/{name}/tags/list?n={wanted}&last={tags[-1]}>; rel="next"'
        return JSONResponse({"name": name, "tags": tags[:wanted]}, headers=headers)

    async def get_manifest(self, request: Request) -> Response:
        """Pulls, which is metered; HEAD only looks what there is."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        async with self.denials.recorded(name, reference):
            return await self._pull(request, name, reference)

    async def _pull(self, request: Request, name: str, reference: str) -> Response:
        started_s = time.monotonic()
        access = self.tokens.require(request, name, PULL)
        who = await self.authorizer.authorize_pull(access, name)
        version = await self.published.find_version(access, name, reference)
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
            await self.pulls.resolve(access, version)
        if request.method == "GET":
            duration_ms = round((time.monotonic() - started_s) * 1000)
            await self.pulls.record(
                access, who, version, manifest_bytes=len(stored.body), duration_ms=duration_ms
            )
        return _found(request, stored)

    async def put_manifest(self, request: Request) -> Response:
        """Pushes. What can't be accepted is shown to the merchant in AMS too, if it was to be a version."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        access = self.tokens.require(request, name, PUSH)
        body = await read_bounded(request, MAX_MANIFEST_BYTES, self.idle_timeout_s)
        publisher = await self.authorizer.authorize_push(access, name)
        media_type = request.headers.get("content-type", "")
        try:
            manifest = manifests.check_manifest(media_type, body)
            if not names.is_digest(reference):
                manifests.check_tag(reference)
            elif reference != manifest.digest:
                raise ManifestError("DIGEST_INVALID", f"The manifest's digest is {manifest.digest}.")
        except ManifestError as error:
            if not names.is_digest(reference):
                # Nobody checked how long the type is that the client made up.
                unfit = Manifest(names.digest_of(body), media_type[:200], len(body), (), (), None)
                await self.publisher.reject(publisher, name, reference, unfit, error.message)
            raise
        if names.is_digest(reference):
            await self.provider.put_manifest(name, reference, manifest.media_type, body)
            await self.publisher.note_manifest(name, manifest)
        else:
            async with self.publisher.publishing(publisher, name, reference, manifest):
                # By digest first: that can't disturb a tag that is there.
                await self.provider.put_manifest(name, manifest.digest, manifest.media_type, body)
                await self.provider.put_manifest(name, reference, manifest.media_type, body)
        headers = {
            "Location": f"/v2/{name}/manifests/{manifest.digest}",
            "Docker-Content-Digest": manifest.digest,
        }
        return Response(status_code=201, headers=headers)

    async def delete_manifest(self, request: Request) -> Response:
        """Takes the versions with this tag or digest away, for good."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        access = self.tokens.require(request, name, DELETE)
        publisher = await self.authorizer.authorize_push(access, name)
        delete_unused = partial(self.provider.delete_manifest, name)
        if not await self.publisher.delete(publisher, name, reference, delete_unused):
            raise _unknown(reference)
        return Response(status_code=202)

    async def _stored(self, name: str, digest: str) -> StoredManifest:
        stored = await self.provider.find_manifest(name, digest) if digest else None
        if stored is None:
            raise _unknown(digest or "this version")
        return stored


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
