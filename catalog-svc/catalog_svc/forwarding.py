"""How calls are forwarded: what a merchant may set, as it is stored."""

import re
from dataclasses import asdict, fields
from urllib.parse import urlsplit

from ams.catalog.v1 import forwarding_pb2
from ams_common.errors import FieldViolation, InvalidArgumentError

from catalog_svc.records import Forwarding

ANY_ORIGIN = "*"
_SCOPES: dict[str, forwarding_pb2.LimitScope.ValueType] = {
    "per_consumer": forwarding_pb2.PER_CONSUMER,
    "per_key": forwarding_pb2.PER_KEY,
}
# As browsers send it (RFC 6454, section 6.2), for the gateway compares texts: a host in lower case, IPv6 in
# brackets, nothing behind the port.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]*)?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def forwarding_of(settings: forwarding_pb2.ForwardingSettings) -> Forwarding:
    """What is stored of the settings. Raises InvalidArgumentError cors_origin_invalid.

    The bounds of numbers and lengths are the contract's, and checked before.
    """
    violations = [
        FieldViolation(f"forwarding.corsOrigins[{index}]", problem)
        for index, origin in enumerate(settings.cors_origins)
        if (problem := origin_problem(origin)) is not None
    ]
    if ANY_ORIGIN in settings.cors_origins and len(settings.cors_origins) > 1:
        violations.append(
            FieldViolation("forwarding.corsOrigins", f"must be “{ANY_ORIGIN}” alone or origins")
        )
    if violations:
        message = f"One of the CORS origins {violations[0].description}."
        raise InvalidArgumentError("cors_origin_invalid", message, violations)
    values = {field.name: getattr(settings, field.name) for field in fields(Forwarding)}
    is_per_key = settings.limit_scope == forwarding_pb2.PER_KEY
    return Forwarding(
        **{
            **values,
            "cors_origins": tuple(dict.fromkeys(settings.cors_origins)),
            "limit_scope": "per_key" if is_per_key else "per_consumer",
        }
    )


def forwarding_message(forwarding: Forwarding) -> forwarding_pb2.ForwardingSettings:
    values = {**asdict(forwarding), "limit_scope": _SCOPES[forwarding.limit_scope]}
    return forwarding_pb2.ForwardingSettings(**values)


def origin_problem(origin: str) -> str | None:
    """What is wrong with a CORS origin, to go on after its name; None if nothing is."""
    if origin == ANY_ORIGIN:
        return None
    wrong = "must look like https://app.example.com, in lower case and without a path"
    if not _ORIGIN.fullmatch(origin):
        return wrong
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return wrong
    # No browser ever sends it, so the origin would never be met.
    return "must not name its scheme's own port" if port == _DEFAULT_PORTS[url.scheme] else None
