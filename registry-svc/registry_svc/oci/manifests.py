"""Manifests: what makes layers an image. Checked when they are pushed, metered when they are pulled."""

import time

from ams_common.clock import utc_now
from ams_common.ids import uuid7
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from registry_svc import names
from registry_svc.auth.access_tokens import DELETE, PULL, PUSH
from registry_svc.auth.authorizer import Publisher
from registry_svc.images import manifests
from registry_svc.images.manifests import MAX_MANIFEST_BYTES, Manifest, ManifestError
from registry_svc.images.publishing import Ledger
from registry_svc.images.versions import ACTIVE, REJECTED, Image
from registry_svc.oci.errors import OciError
from registry_svc.oci.refusals import Refusals
from registry_svc.oci.requests import image_name, reference_in, tag_in
from registry_svc.oci.streams import read_bounded
from registry_svc.oci.tokens import Door
from registry_svc.providers.provider import ImageRegistryProvider, StoredManifest

_MAX_TAGS = 1000


class Manifests:
    """/v2/<name>/manifests/<reference> and /v2/<name>/tags/list"""

    def __init__(
        self,
        door: Door,
        provider: ImageRegistryProvider,
        ledger: Ledger,
        refusals: Refusals,
        *,
        silence_s: float,
    ) -> None:
        self._door = door
        self._provider = provider
        self._ledger = ledger
        self._refusals = refusals
        self._silence_s = silence_s

    async def manifest(self, request: Request) -> Response:
        """GET and HEAD pull, PUT pushes, DELETE takes a version away."""
        name, reference = image_name(request), reference_in(request.path_params["reference"])
        if request.method == "PUT":
            return await self._push(request, name, reference)
        if request.method == "DELETE":
            return await self._delete(request, name, reference)
        async with self._refusals.written_down(request, name, reference):
            return await self._pull(request, name, reference)

    async def tags(self, request: Request) -> Response:
        """The active versions; `n` and `last` page through them."""
        name = image_name(request)
        await self._door.gatekeeper.still_pulls(self._door.require(request, name, PULL), name)
        wanted = _count(request.query_params.get("n", ""))
        last = request.query_params.get("last", "")
        tags = await self._ledger.tags(name, tag_in(last) if last else "", wanted + 1)
        headers = {}
        if 0 < wanted < len(tags):
            tags = tags[:wanted]
            headers["Link"] = f'</v2/{name}/tags/list?n={wanted}&last={tags[-1]}>; rel="next"'
        return JSONResponse({"name": name, "tags": tags[:wanted]}, headers=headers)

    async def _push(self, request: Request, name: str, reference: str) -> Response:
        access = self._door.require(request, name, PUSH)
        body = await read_bounded(request, MAX_MANIFEST_BYTES, self._silence_s)
        publisher = await self._door.gatekeeper.push_again(access, name)
        media_type = request.headers.get("content-type", "")
        try:
            manifest = manifests.check_manifest(media_type, body)
            if names.is_digest(reference):
                _check_digest(reference, manifest)
            else:
                manifests.check_tag(reference)
        except ManifestError as refusal:
            await self._reject(publisher, name, reference, media_type, body, refusal)
            raise OciError(refusal.code, refusal.message) from None
        if names.is_digest(reference):
            await self._store(name, reference, manifest, body)
            await self._ledger.note_manifest(name, manifest)
        else:
            version = _version(publisher, name, reference, manifest)
            async with self._ledger.publishing(publisher, version, manifest):
                # By digest first: that can't disturb a tag that is there.
                await self._store(name, manifest.digest, manifest, body)
                await self._store(name, reference, manifest, body)
        headers = {
            "Location": f"/v2/{name}/manifests/{manifest.digest}",
            "Docker-Content-Digest": manifest.digest,
        }
        return Response(status_code=201, headers=headers)

    async def _store(self, name: str, reference: str, manifest: Manifest, body: bytes) -> None:
        await self._provider.put_manifest(name, reference, manifest.media_type, body)

    async def _reject(
        self,
        publisher: Publisher,
        name: str,
        reference: str,
        media_type: str,
        body: bytes,
        refusal: ManifestError,
    ) -> None:
        """Shows the merchant in AMS what its terminal showed; for versions only."""
        if names.is_digest(reference):
            return
        image = Image(
            image_id=uuid7(),
            service_id=publisher.token.service_id,
            merchant_id=publisher.token.merchant_id,
            name=name,
            tag=reference,
            digest=names.digest_of(body),
            child_digests=(),
            media_type=media_type[:200],
            size_bytes=len(body),
            status=REJECTED,
            rejection_reason=refusal.message,
            license_model=None,
            pushed_at=utc_now(),
        )
        await self._ledger.reject(publisher, image)

    async def _pull(self, request: Request, name: str, reference: str) -> Response:
        started_s = time.monotonic()
        access = self._door.require(request, name, PULL)
        who = await self._door.gatekeeper.pull_again(access, name)
        version = await self._ledger.find_version(access, name, reference)
        digest = reference if names.is_digest(reference) else version.digest if version is not None else ""
        if isinstance(who, Publisher):
            return _found(request, await self._stored(name, digest))
        if version is None:
            raise _unknown(reference)
        if version.status != ACTIVE:
            raise OciError("DENIED", f"Version {version.tag} was taken out of use by its merchant.")
        stored = await self._stored(name, digest)
        if reference == version.tag:
            await self._ledger.resolve(access, version)
        if request.method == "GET":
            puller, service = who
            duration_ms = round((time.monotonic() - started_s) * 1000)
            await self._ledger.pull(access, puller, service, version, len(stored.body), duration_ms)
        return _found(request, stored)

    async def _delete(self, request: Request, name: str, reference: str) -> Response:
        access = self._door.require(request, name, DELETE)
        publisher = await self._door.gatekeeper.push_again(access, name)

        async def forget(digest: str) -> None:
            await self._provider.delete_manifest(name, digest)

        if not await self._ledger.delete(publisher, name, reference, forget):
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


def _found(request: Request, stored: StoredManifest) -> Response:
    headers = {
        "Docker-Content-Digest": stored.digest,
        "ETag": f'"{stored.digest}"',
        "Content-Type": stored.media_type,
        "Content-Length": str(len(stored.body)),
    }
    return Response(b"" if request.method == "HEAD" else stored.body, headers=headers)


def _check_digest(reference: str, manifest: Manifest) -> None:
    if reference != manifest.digest:
        raise ManifestError("DIGEST_INVALID", f"The manifest's digest is {manifest.digest}.")


def _count(text: str) -> int:
    return min(int(text), _MAX_TAGS) if text.isascii() and text.isdigit() and len(text) < 9 else _MAX_TAGS


def _unknown(reference: str) -> OciError:
    return OciError("MANIFEST_UNKNOWN", f"There is no {reference} here.")
