"""What proves to a merchant's API that a call came through AMS: a header of its own, and signatures."""

import base64
import re
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from ams.catalog.v1 import forwarding_pb2
from ams.catalog.v1.catalog_service_pb2 import SetUpstreamCredentialRequest
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from ams_common.sealing import Sealer

from catalog_svc.lifecycle import DOCKER
from catalog_svc.records import ServiceRecord, SigningKey, UpstreamCredential

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 6750, section 2.1.
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
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
# Time for the merchant's API to learn the key that will sign.
USUAL_START = timedelta(days=1)
LATEST_START = timedelta(days=30)


def check_called(record: ServiceRecord) -> None:
    """Raises FailedPreconditionError service_not_called for what the gateway never forwards to."""
    if record.type == DOCKER:
        raise FailedPreconditionError(
            "service_not_called",
            "Consumers pull a Docker service's images: there are no calls to prove anything of.",
        )


def check_credential(request: SetUpstreamCredentialRequest) -> None:
    """Raises InvalidArgumentError credential_invalid. No field but the service's id stands for none."""
    if is_removal(request):
        return
    problems = {
        forwarding_pb2.BASIC: _basic_problems,
        forwarding_pb2.BEARER: _bearer_problems,
    }.get(request.kind, _header_problems)(request)
    violations = [FieldViolation(field, problem) for field, problem in problems if problem is not None]
    if violations:
        # Which part, but never what stands in it.
        message = f"The {_PART_WORDS[violations[0].field]} {violations[0].description}."
        raise InvalidArgumentError("credential_invalid", message, violations)


def is_removal(request: SetUpstreamCredentialRequest) -> bool:
    """Whether there is to be no credential from now on."""
    return not (request.header_name or request.value or request.username or request.kind)


_Problems = tuple[tuple[str, str | None], ...]
_PART_WORDS = {
    "headerName": "name of the header",
    "value": "secret of the credential",
    "username": "user name",
}


def _header_problems(request: SetUpstreamCredentialRequest) -> _Problems:
    return (
        ("headerName", header_name_problem(request.header_name)),
        ("value", _value_problem(request.value)),
        ("username", "goes with BASIC alone" if request.username else None),
    )


def _basic_problems(request: SetUpstreamCredentialRequest) -> _Problems:
    username = "must have no colon" if ":" in request.username else None
    return (
        ("headerName", "must be empty: it is Authorization" if request.header_name else None),
        ("username", username if request.username else "is required"),
        ("value", None if request.value else "is required"),
    )


def _bearer_problems(request: SetUpstreamCredentialRequest) -> _Problems:
    wrong = "must be letters, digits and - . _ ~ + /, with = only at its end"
    return (
        ("headerName", "must be empty: it is Authorization" if request.header_name else None),
        ("username", "goes with BASIC alone" if request.username else None),
        (
            "value",
            None if _BEARER_TOKEN.fullmatch(request.value) else wrong if request.value else "is required",
        ),
    )


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
    """The record with the credential of a request that was checked, or without any."""
    if is_removal(request):
        return replace(record, credential=None, updated_at=now)
    kind, header_name, value = _header_of(request)
    # Whatever it is made of, the gateway gets a header: there is one way to obey it.
    credential = UpstreamCredential(kind, header_name, sealer.seal(value), now)
    return replace(record, credential=credential, updated_at=now)


def _header_of(request: SetUpstreamCredentialRequest) -> tuple[str, str, bytes]:
    """What it is called here, and the header field that it is sent in."""
    if request.kind == forwarding_pb2.BASIC:
        pair = f"{request.username}:{request.value}".encode()
        return "basic", "Authorization", b"Basic " + base64.b64encode(pair)
    if request.kind == forwarding_pb2.BEARER:
        return "bearer", "Authorization", b"Bearer " + request.value.encode("ascii")
    return "header", request.header_name, request.value.encode("ascii")


def new_secret() -> bytes:
    """A key of HMAC-SHA-256, as long as the hash."""
    return secrets.token_bytes(_SECRET_BYTES)


def shown_secret(secret: bytes) -> str:
    """The secret as its merchant gets it, this once."""
    return base64.b64encode(secret).decode()


def wanted_start(
    record: ServiceRecord, at_once: bool, starts_at: datetime | None, now: datetime
) -> datetime | None:
    """When the record's new signing key begins to sign; None: at once, as a first one does anyway, for its
    API can't have refused calls without a signature.

    Raises InvalidArgumentError signing_key_start_invalid for a time that isn't ahead, or too far.
    """
    if starts_at is not None:
        problem = None
        if at_once:
            problem = "can't be given together with at once"
        elif not now < starts_at <= now + LATEST_START:
            problem = f"must lie in the future, by {LATEST_START.days} days at most"
        if problem is not None:
            violations = [FieldViolation("startsAt", problem)]
            raise InvalidArgumentError(
                "signing_key_start_invalid", f"When the key begins {problem}.", violations
            )
    if at_once or record.signing_key is None:
        return None
    return starts_at or now + USUAL_START


def with_new_signing_key(record: ServiceRecord, key: SigningKey, sealed_secret: bytes) -> ServiceRecord:
    """The record signing with `key`, at once or from its start on. One that was to come doesn't any more, and
    of a key that never signs again only the name is kept."""
    if key.starts_at is not None:
        return replace(
            record, next_signing_key=key, sealed_next_signing_key=sealed_secret, updated_at=key.created_at
        )
    return replace(
        record,
        signing_key=key,
        sealed_signing_key=sealed_secret,
        previous_signing_key=record.signing_key,
        next_signing_key=None,
        sealed_next_signing_key=None,
        updated_at=key.created_at,
    )


def with_next_signing_key(record: ServiceRecord, now: datetime) -> ServiceRecord:
    """The record signing with the next key, before its time. Raises FailedPreconditionError
    no_next_signing_key."""
    following, sealed_secret = record.next_signing_key, record.sealed_next_signing_key
    if following is None or sealed_secret is None:
        raise FailedPreconditionError("no_next_signing_key", "No other signing key is to begin.")
    started = with_new_signing_key(record, replace(following, starts_at=None), sealed_secret)
    return replace(started, updated_at=now)
