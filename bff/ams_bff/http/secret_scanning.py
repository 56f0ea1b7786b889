"""Reports of a code host's secret scanning, in the form of GitHub's partner program."""

import json

from ams.keys.v1 import exposures_service_pb2 as pb
from ams_rest.areas import AREAS
from ams_rest.backends import Backends
from ams_rest.http_errors import BodyTooLargeError
from ams_rest.routes import PREFIX
from starlette.requests import Request
from starlette.responses import Response

# Below the API's, so that what is refused is answered as there.
PATH = f"{PREFIX}/v1/secret-scanning"
_MAX_REPORT_BYTES = 1_000_000
_EXPOSURES = next(area for area in AREAS if area.name == "exposures")


class SecretScanning:
    """The endpoint for code hosts, in the form of GitHub's partner program."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    async def answer(self, request: Request) -> Response:
        """Passes the report on as it was sent, for its signature is over these bytes. Raises AppError."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_REPORT_BYTES:
                raise BodyTooLargeError("body_too_large", "The report is too large.")
        report = pb.ReportFoundKeysRequest(
            body=bytes(body),
            key_identifier=request.headers.get("github-public-key-identifier", ""),
            signature=request.headers.get("github-public-key-signature", ""),
        )
        rpc = _EXPOSURES.service.methods_by_name["ReportFoundKeys"]
        answer: pb.ReportFoundKeysResponse = await self._backends.call(_EXPOSURES, rpc, report, None)
        labels = [
            {
                "token_raw": label.token,
                "token_type": label.token_type,
                "label": "true_positive" if label.is_key else "false_positive",
            }
            for label in answer.labels
        ]
        headers = {"cache-control": "no-store"}
        return Response(json.dumps(labels), media_type="application/json", headers=headers)
