"""What a registry's client is told: the error codes of the OCI distribution specification."""

import json
from collections.abc import Mapping

from starlette.responses import Response

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
    """A refusal with one of the specification's codes; clients show the message in the terminal."""

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
