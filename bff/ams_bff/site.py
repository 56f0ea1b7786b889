"""What is served beside the API: keys for verifying tokens, health, the OpenAPI document."""

import json
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import profile_service_pb2 as profile_pb
from ams_rest.answers import json_answer
from ams_rest.areas import AREAS
from ams_rest.backends import Backends
from starlette.responses import Response

_JWKS_MAX_AGE_S = 300
_OPENAPI_MAX_AGE_S = 300
_PROFILES = next(area for area in AREAS if area.name == "profiles")
# Another picture has another id. Whoever opens one as a page gets nothing that could run.
_PICTURE_HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "content-disposition": "inline",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}
_IDENTITY = next(area for area in AREAS if area.name == "identity")


class Site:
    """Each method is an endpoint."""

    def __init__(self, backends: Backends, openapi: dict[str, Any]) -> None:
        self._backends = backends
        self._openapi = json.dumps(openapi, ensure_ascii=False, indent=2)

    async def openapi(self) -> Response:
        """Answers the OpenAPI 3.1 document, made from the contracts."""
        headers = {"cache-control": f"public, max-age={_OPENAPI_MAX_AGE_S}"}
        return Response(self._openapi, media_type="application/json", headers=headers)

    async def jwks(self) -> Response:
        """The keys that sign access tokens (RFC 7517). Raises AppError when identity-svc is down."""
        rpc = _IDENTITY.service.methods_by_name["GetJwks"]
        answer: pb.GetJwksResponse = await self._backends.call(_IDENTITY, rpc, pb.GetJwksRequest(), None)
        headers = {"cache-control": f"public, max-age={_JWKS_MAX_AGE_S}"}
        return Response(answer.jwks_json, media_type="application/jwk-set+json", headers=headers)

    async def picture(self, picture_id: str) -> Response:
        """A person's picture or a merchant's logo. Raises AppError: picture_not_found."""
        rpc = _PROFILES.service.methods_by_name["GetPicture"]
        request = profile_pb.GetPictureRequest(picture_id=picture_id)
        picture: profile_pb.Picture = await self._backends.call(_PROFILES, rpc, request, None)
        return Response(picture.content, media_type=picture.media_type, headers=_PICTURE_HEADERS)

    async def healthz(self) -> Response:
        """Says that this process lives, whatever is behind it."""
        return json_answer({"status": "alive"})

    async def readyz(self) -> Response:
        """Says whether all services behind it serve: 200 or 503."""
        states = await self._backends.health()
        is_ready = all(state == "serving" for state in states.values())
        document = {"status": "ready" if is_ready else "not_ready", "services": states}
        return json_answer(document, status=200 if is_ready else 503)
