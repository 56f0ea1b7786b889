"""Every answer that the gateway gives by itself, and its RFC 9457 form."""

import json
from dataclasses import dataclass

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request isn't forwarded: a value, not an exception. Clients tell problems apart by `code`, which
    stays the same for ever; titles and details may change."""

    code: str
    status: int
    title: str
    detail: str
    headers: tuple[Header, ...] = ()
    # The connection's framing or the client's intent is in doubt: nothing more is read from it.
    closes: bool = False


_CHALLENGE: tuple[Header, ...] = ((b"www-authenticate", b'Bearer realm="AMS"'),)
_BAD_KEY: tuple[Header, ...] = ((b"www-authenticate", b'Bearer realm="AMS", error="invalid_token"'),)
_SOON: tuple[Header, ...] = ((b"retry-after", b"1"),)

KEY_MISSING = Problem(
    "key_missing",
    401,
    "API key missing",
    "Send the API key as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.",
    _CHALLENGE,
)
KEY_INVALID = Problem("key_invalid", 401, "API key invalid", "There is no such API key.", _BAD_KEY)
KEY_REVOKED = Problem("key_revoked", 403, "API key revoked", "This API key has been revoked.")
KEY_EXPIRED = Problem("key_expired", 403, "API key expired", "This API key is past its time to live.")
CONSUMER_BLOCKED = Problem(
    "consumer_blocked", 403, "Consumer blocked", "The owner of this API key is blocked on the platform."
)
KEY_DISABLED = Problem("key_disabled", 403, "API key disabled", "The owner of this API key has disabled it.")
ADDRESS_NOT_ALLOWED = Problem(
    "address_not_allowed", 403, "Address not allowed", "This API key may not be used from this address."
)
CALL_NOT_ALLOWED = Problem(
    "call_not_allowed",
    403,
    "Call not allowed",
    "This API key may not use this method or path of the service.",
)
SERVICE_REQUIRED = Problem(
    "service_required", 400, "Service missing", "Name the service in 'X-AMS-Service' (its id or slug)."
)
SERVICE_NOT_GRANTED = Problem(
    "service_not_granted", 403, "Service not granted", "This API key may not call the service."
)
MERCHANT_SUSPENDED = Problem(
    "merchant_suspended", 502, "Merchant suspended", "The merchant of this service is suspended."
)
SERVICE_INACTIVE = Problem(
    "service_inactive", 502, "Service not active", "This service isn't active at present."
)
UPSTREAM_MISCONFIGURED = Problem(
    "upstream_misconfigured", 502, "Upstream misconfigured", "The merchant's base URL can't be used."
)
RATE_LIMITED = Problem(
    "rate_limited", 429, "Rate limit exceeded", "Too many requests to this service; see Retry-After."
)
QUOTA_EXCEEDED = Problem(
    "quota_exceeded", 429, "Quota exceeded", "The service's quota for this day or month is used up."
)
SPEND_CAP_REACHED = Problem(
    "spend_cap_reached", 402, "Spend cap reached", "Calls would cost more than the cap set for this month."
)
UPSTREAM_UNREACHABLE = Problem(
    "upstream_unreachable", 502, "Upstream unreachable", "The merchant's API couldn't be reached."
)
UPSTREAM_FAILED = Problem(
    "upstream_failed", 502, "Upstream failed", "The merchant's API broke off or gave no valid answer."
)
UPSTREAM_TIMEOUT = Problem(
    "upstream_timeout", 504, "Upstream timed out", "The merchant's API didn't answer in time."
)
# Never sent, since nobody is there: what a request is metered with when the consumer hung up.
CLIENT_CLOSED = Problem("client_closed", 499, "Client closed", "The client closed the connection.")
METERING_UNAVAILABLE = Problem(
    "metering_unavailable", 503, "Metering unavailable", "Usage can't be recorded at present.", _SOON
)
VALIDATION_UNAVAILABLE = Problem(
    "validation_unavailable", 503, "Validation unavailable", "Keys can't be looked up at present.", _SOON
)
GATEWAY_BUSY = Problem(
    "gateway_busy", 503, "Gateway busy", "Too many calls to the merchant's APIs are under way."
)
GATEWAY_FULL = Problem(
    "gateway_full",
    503,
    "Gateway full",
    "Too many connections are open, and none of them idle.",
    _SOON,
    closes=True,
)
UPSTREAM_FAILING = Problem(
    "upstream_failing", 503, "Upstream failing", "The merchant's API has been failing; see Retry-After."
)
LOOP_DETECTED = Problem(
    "loop_detected", 508, "Loop detected", "The request has come through this gateway already."
)
KEY_IN_PATH = Problem(
    "key_in_path", 400, "API key in the path", "The path holds an API key, which the merchant would see."
)
CORS_DENIED = Problem(
    "cors_denied", 403, "Origin not allowed", "Pages of this origin may not call the service from a browser."
)
SERVICE_CONFLICT = Problem(
    "service_conflict", 400, "Services conflict", "The request names more than one service."
)
TARGET_INVALID = Problem(
    "target_invalid", 400, "Target invalid", "The request's target holds what a URL can't.", closes=True
)
HEADER_INVALID = Problem(
    "header_invalid", 400, "Header invalid", "A line of the request's head isn't a field.", closes=True
)
REQUEST_INVALID = Problem(
    "request_invalid", 400, "Request invalid", "The request isn't HTTP/1.1.", closes=True
)
PATH_INVALID = Problem("path_invalid", 400, "Path invalid", "The path leaves the service's base URL.")
NOT_FOUND = Problem("not_found", 404, "Not found", "Use POST /api/consume or /api/consume/{service}/{path}.")
METHOD_NOT_ALLOWED = Problem(
    "method_not_allowed", 405, "Method not allowed", "This path takes POST only.", ((b"allow", b"POST"),)
)
METHOD_UNSUPPORTED = Problem(
    "method_unsupported", 501, "Method unsupported", "CONNECT and TRACE aren't forwarded.", closes=True
)
HEADER_DUPLICATE = Problem(
    "header_duplicate", 400, "Header duplicated", "A header that must be single came twice.", closes=True
)
HOST_MISSING = Problem("host_missing", 400, "Host missing", "HTTP/1.1 asks for a Host.", closes=True)
KEY_CONFLICT = Problem(
    "key_conflict", 400, "API keys conflict", "Authorization and X-API-Key carry different keys."
)
FRAMING_INVALID = Problem(
    "framing_invalid", 400, "Framing invalid", "Transfer-Encoding may only be 'chunked'.", closes=True
)
UPGRADE_UNSUPPORTED = Problem(
    "upgrade_unsupported", 501, "Upgrade unsupported", "This gateway opens no WebSockets.", closes=True
)
WEBSOCKET_DENIED = Problem(
    "websocket_denied", 403, "WebSocket denied", "The service's merchant allows no WebSockets."
)
GATEWAY_STOPPING = Problem("gateway_stopping", 503, "Gateway stopping", "Call again.", _SOON)
HEADERS_TOO_LARGE = Problem(
    "headers_too_large", 431, "Headers too large", "The request's headers are too large.", closes=True
)
BODY_TOO_LARGE = Problem(
    "body_too_large", 413, "Body too large", "The request's body is too large.", closes=True
)
REQUEST_TIMEOUT = Problem(
    "request_timeout", 408, "Request timed out", "The request's headers took too long.", closes=True
)
VERSION_UNSUPPORTED = Problem(
    "http_version_unsupported", 505, "HTTP version unsupported", "Use HTTP/1.1.", closes=True
)
INTERNAL = Problem("internal", 500, "Internal error", "The gateway failed; the request id names the case.")


def render(problem: Problem, request_id: bytes, more: bytes = b"") -> tuple[bytes, bytes]:
    """The fields, each line with its end but without the length's, and the body (RFC 9457)."""
    body = json.dumps(
        {
            "type": f"urn:ams:problem:{problem.code}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
            "request_id": request_id.decode("ascii"),
        }
    ).encode()
    own = b"".join(b"%b: %b\r\n" % field for field in problem.headers)
    fields = b"content-type: application/problem+json\r\ncache-control: no-store\r\nx-request-id: %b\r\n%b%b"
    return fields % (request_id, own, more), body
