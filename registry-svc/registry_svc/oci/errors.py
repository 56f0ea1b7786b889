"""What a registry's client is told: the error codes of the OCI distribution specification."""

import json
import logging
from collections.abc import Mapping

from ams_common.errors import AppError, InternalError
from starlette.responses import Response

from registry_svc.auth.errors import BusyError, NotSignedInError, PullDeniedError, PushDeniedError
from registry_svc.images.manifests import ManifestError
from registry_svc.providers.provider import ProviderError, RefusedByProviderError

log = logging.getLogger(__name__)

# Code → HTTP status, unless an error says another.
_STATUSES = {
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "TAG_INVALID": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "DIGEST_INVALID": 400,
    "SIZE_INVALID": 413,
    "RANGE_INVALID": 416,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
    "UNAVAILABLE": 503,
    "UNKNOWN": 500,
}


class OciError(Exception):
    """An error with one of the specification's codes; clients show the message in the terminal."""

    def __init__(
        self,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUSES[code]
        self.headers = dict(headers or {})

    def response(self) -> Response:
        body = json.dumps({"errors": [{"code": self.code, "message": self.message}]})
        return Response(body, self.status, self.headers, media_type="application/json")


def as_oci(error: Exception) -> OciError:
    """What a client is told of `error`; what is no fault of its own is logged here, and told without its
    text."""
    match error:
        case OciError():
            return error
        case NotSignedInError():
            return OciError("UNAUTHORIZED", error.message)
        case PushDeniedError() | PullDeniedError():
            return OciError("DENIED", error.message)
        case BusyError():
            return OciError("UNAVAILABLE", error.message)
        case ManifestError() | RefusedByProviderError():
            return OciError(error.code, error.message)
        case ProviderError():
            log.error("the provider failed", extra={"error": str(error)})
            return OciError("UNAVAILABLE", "The image store is not reachable. Try again shortly.")
        case AppError() if not isinstance(error, InternalError):
            log.warning("a peer can't be asked", extra={"code": error.code})
            return OciError("UNAVAILABLE", "A part of the system is not reachable. Try again shortly.")
        case _:
            log.error("unexpected error", exc_info=error)
            return OciError("UNKNOWN", "Something went wrong on our side.")
