"""The one error family, and its translation: gRPC status (google.rpc.ErrorInfo, AIP-193) between
services, RFC 9457 problem+json at the HTTP edges.

A denial that is part of a rule is a value; an AppError is for whoever has to be told.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "ams"


class SettingsError(Exception):
    """The process can't start with these settings. Its lines name the variables."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class FieldViolation(NamedTuple):
    """One field of a request that can't be accepted: its JSON path and what is wrong with it."""

    field: str
    description: str


class AppError(Exception):
    """What a caller is told: a stable `code` (lower snake case), a sentence, and string metadata."""

    grpc_code = grpc.StatusCode.UNKNOWN
    http_status = 500

    def __init__(
        self, code: str, message: str, violations: Sequence[FieldViolation] = (), **metadata: str
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.violations = tuple(violations)
        self.metadata = metadata


class InvalidArgumentError(AppError):
    grpc_code, http_status = grpc.StatusCode.INVALID_ARGUMENT, 400


class UnauthenticatedError(AppError):
    grpc_code, http_status = grpc.StatusCode.UNAUTHENTICATED, 401


class PermissionDeniedError(AppError):
    grpc_code, http_status = grpc.StatusCode.PERMISSION_DENIED, 403


class NotFoundError(AppError):
    """Also for what exists but is somebody else's."""

    grpc_code, http_status = grpc.StatusCode.NOT_FOUND, 404


class AlreadyExistsError(AppError):
    grpc_code, http_status = grpc.StatusCode.ALREADY_EXISTS, 409


class FailedPreconditionError(AppError):
    """The resource is in a state that doesn't allow what was asked."""

    grpc_code, http_status = grpc.StatusCode.FAILED_PRECONDITION, 409


class AbortedError(AppError):
    """The resource isn't any more as whoever calls has seen it (RFC 9110 §13.1.1)."""

    grpc_code, http_status = grpc.StatusCode.ABORTED, 412


class ResourceExhaustedError(AppError):
    grpc_code, http_status = grpc.StatusCode.RESOURCE_EXHAUSTED, 429


class InternalError(AppError):
    """The unexpected. Tells nothing but the request id."""

    grpc_code, http_status = grpc.StatusCode.INTERNAL, 500


class UnavailableError(AppError):
    grpc_code, http_status = grpc.StatusCode.UNAVAILABLE, 503


class DeadlineExceededError(AppError):
    grpc_code, http_status = grpc.StatusCode.DEADLINE_EXCEEDED, 504


_BY_GRPC_CODE: Mapping[grpc.StatusCode, type[AppError]] = {
    kind.grpc_code: kind for kind in AppError.__subclasses__()
}


def internal_error(request_id: str) -> InternalError:
    """What an unexpected exception looks like from outside."""
    return InternalError("internal", "Something went wrong on our side.", request_id=request_id)


def to_status(error: AppError) -> status_pb2.Status:
    """The google.rpc.Status of an error, its code upper-cased as ErrorInfo.reason."""
    details = [
        _pack(error_details_pb2.ErrorInfo(reason=error.code.upper(), domain=DOMAIN, metadata=error.metadata))
    ]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in error.violations
        ]
        details.append(_pack(error_details_pb2.BadRequest(field_violations=violations)))
    return status_pb2.Status(code=error.grpc_code.value[0], message=error.message, details=details)


def to_grpc_status(error: AppError) -> grpc.Status:
    """The status of an error as `context.abort_with_status()` takes it."""
    status: grpc.Status = rpc_status.to_status(to_status(error))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> AppError:
    """The AppError that a peer meant. Faults of the transport become unavailable or deadline_exceeded;
    what isn't ours (no ErrorInfo) becomes a bare internal error, never the peer's text."""
    kind = _BY_GRPC_CODE.get(error.code())
    status = rpc_status.from_call(error)
    info, violations = _details(status) if status is not None else (None, [])
    if info is not None and kind is not None:
        return kind(info.reason.lower(), status.message, violations, **dict(info.metadata))
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(
            "service_unavailable", "A part of the system is not reachable. Try again shortly."
        )
    # A server whose call's time is over may say so a moment before the client does: by cancelling it.
    if error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return DeadlineExceededError(
            "deadline_exceeded", "A part of the system took too long. Try again shortly."
        )
    return internal_error("")


def to_problem(error: AppError, request_id: str) -> dict[str, Any]:
    """The RFC 9457 problem object of an error; `code` is the member to switch on."""
    problem: dict[str, Any] = {
        "type": f"urn:ams:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.http_status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.violations:
        problem["errors"] = [violation._asdict() for violation in error.violations]
    return problem


def _pack(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _details(
    status: status_pb2.Status,
) -> tuple[error_details_pb2.ErrorInfo | None, list[FieldViolation]]:
    info: error_details_pb2.ErrorInfo | None = None
    violations: list[FieldViolation] = []
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest.FromString(detail.value)
            violations = [FieldViolation(v.field, v.description) for v in bad_request.field_violations]
    return (info if info is not None and info.domain == DOMAIN else None), violations
