"""Errors that only HTTP knows, beside those of ams_common.errors. None of them crosses gRPC."""

from collections.abc import Mapping

from ams_common.errors import AppError


class BodyTooSlowError(AppError):
    http_status = 408


class BodyTooLargeError(AppError):
    http_status = 413


class UnsupportedMediaTypeError(AppError):
    http_status = 415


class MethodNotAllowedError(AppError):
    """`allowed` goes into the Allow header (RFC 9110 §15.5.6)."""

    http_status = 405

    def __init__(self, allowed: list[str]) -> None:
        super().__init__("method_not_allowed", f"This path answers {' and '.join(allowed)} only.")
        self.allowed = allowed


class CallsLimitedError(AppError):
    """`headers` say how many calls there are, and when there are more."""

    http_status = 429

    def __init__(self, headers: Mapping[str, str], retry_after_s: int) -> None:
        super().__init__(
            "rate_limited", "Too many calls: wait, and make fewer.", retry_after_s=str(retry_after_s)
        )
        self.headers = headers
