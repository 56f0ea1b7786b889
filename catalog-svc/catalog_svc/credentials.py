"""What proves to a merchant's API that a call came through AMS: a header of its own, and signatures."""

import base64
import re
import secrets
from dataclasses import replace
from datetime import datetime

from ams.catalog.v1.catalog_service_pb2 import SetUpstreamCredentialRequest
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from ams_common.sealing import Sealer

from catalog_svc.lifecycle import DOCKER
from catalog_svc.records import ServiceRecord, SigningKey, UpstreamCredential

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Visible, with spaces inside at most: "Bearer …".
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# What the gateway writes, or takes out, by itself. A credential under one of these names would break the
# message's framing, or pass for what only the gateway may say.
_TAKEN = frozenset(
    (
        # One connection's, and its framing
        *("connection", "content-length", "expect", "host", "http2-settings", "keep-alive"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade", "via"),
        # Who asks, and for what
        *("cookie", "forwarded", "proxy", "x-original-url", "x-real-ip", "x-rewrite-url"),
        # What the gateway says of a call
        *("signature", "signature-input", "traceparent", "tracestate", "x-request-id"),
    )
)
_TAKEN_PREFIXES = ("sec-websocket-", "x-ams-", "x-forwarded-")
_SECRET_BYTES = 32


def check_called(record: ServiceRecord) -> None:
    """Raises FailedPreconditionError service_not_called for what the gateway never forwards to."""
    if record.type == DOCKER:
        raise FailedPreconditionError(
            "service_not_called",
            "Consumers pull a Docker service's images: there are no calls to prove anything of.",
        )


def check_credential(request: SetUpstreamCredentialRequest) -> None:
    """Raises InvalidArgumentError credential_invalid. Neither name nor value stands for none."""
    if not request.header_name and not request.value:
        return
    violations = [
        FieldViolation(field, problem)
        for field, problem in (
            ("headerName", header_name_problem(request.header_name)),
            ("value", _value_problem(request.value)),
        )
        if problem is not None
    ]
    if violations:
        # Which header, but never what stands in it.
        words = "name of the header" if violations[0].field == "headerName" else "value of the header"
        message = f"The {words} {violations[0].description}."
        raise InvalidArgumentError("credential_invalid", message, violations)


def header_name_problem(name: str) -> str | None:
    """What is wrong with the name of a credential's header, to go on after it; None if nothing is."""
    if not name:
        return "is required"
    if not _TOKEN.fullmatch(name):
        return "must be letters, digits and hyphens"
    # Many servers take "_" for "-".
    plain = name.lower().replace("_", "-")
    if plain in _TAKEN or plain.startswith(_TAKEN_PREFIXES):
        return "must be another one: AMS writes this field by itself"
    return None


def _value_problem(value: str) -> str | None:
    if not value:
        return "is required"
    return None if _VALUE.fullmatch(value) else "must be visible ASCII characters, with spaces only inside"


def with_credential(
    record: ServiceRecord, request: SetUpstreamCredentialRequest, sealer: Sealer, now: datetime
) -> ServiceRecord:
    """The record with the credential of a request that was checked; without any for an empty name."""
    credential = None
    if request.header_name:
        credential = UpstreamCredential(request.header_name, sealer.seal(request.value.encode("ascii")), now)
    return replace(record, credential=credential, updated_at=now)


def new_secret() -> bytes:
    """A key of HMAC-SHA-256, as long as the hash."""
    return secrets.token_bytes(_SECRET_BYTES)


def shown_secret(secret: bytes) -> str:
    """The secret as its merchant gets it, this once."""
    return base64.b64encode(secret).decode()


def with_new_signing_key(record: ServiceRecord, key: SigningKey, sealed_secret: bytes) -> ServiceRecord:
    """The record signing with `key`. Of the key before only its name is kept, for it never signs again."""
    return replace(
        record,
        signing_key=key,
        sealed_signing_key=sealed_secret,
        previous_signing_key=record.signing_key,
        updated_at=key.created_at,
    )
