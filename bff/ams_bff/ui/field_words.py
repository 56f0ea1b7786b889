"""What a service's fields are called on pages, and how their values read there."""

from collections.abc import Mapping
from decimal import Decimal

from ams.catalog.v1.revision_pb2 import (
    REVISION_APPROVED,
    REVISION_PENDING,
    REVISION_REJECTED,
    REVISION_WITHDRAWN,
    RevisionStatus,
)
from ams_common.categories import CATEGORIES

_LABELS: Mapping[str, str] = {
    "additional_info": "Good to know",
    "authentication_method": "Authentication",
    "base_url": "Base URL",
    "documentation_url": "Documentation",
    "forwarding.limit_scope": "Limits are counted",
    "forwarding.quota_per_day": "Quota per day",
    "forwarding.quota_per_month": "Quota per month",
    "openapi_document": "API reference (OpenAPI)",
    "rate_limit_per_minute": "Rate limit per minute",
    "runtime_parameters": "Runtime parameters",
    "service_levels.availability_ppm": "Availability",
    "service_levels.latency_p95_ms": "95 % of answers within",
    "support_contact.email": "Support by mail",
    "support_contact.url": "Support page",
    "tracing.skips_request_size": "Leaves out request sizes",
    "tracing.skips_response_size": "Leaves out answer sizes",
}
_METHODS = {
    "api_key_only": "AMS API key",
    "service_token": "AMS API key and a token of the service",
    "oauth2": "AMS API key and OAuth 2.0",
    "other_authentication": "AMS API key, and as the documentation says",
}

_REVISIONS: Mapping[int, tuple[str, str]] = {
    REVISION_PENDING: ("waits for approval", "warn"),
    REVISION_APPROVED: ("approved", "good"),
    REVISION_REJECTED: ("rejected", "bad"),
    REVISION_WITHDRAWN: ("withdrawn", "plain"),
}


def field_label(path: str) -> str:
    """What pages call a field by its name in the contract."""
    label = _LABELS.get(path)
    if label is None:
        label = path.rpartition(".")[2].replace("_", " ").capitalize()
    return label


def field_value(text: str, path: str) -> str:
    """A value as the catalog tells it in a revision's changes, for people; "" where there is none."""
    match path:
        case "service_levels.availability_ppm":
            return percent(int(text)) if text != "0" else ""
        case "service_levels.latency_p95_ms":
            return f"{int(text):,} ms" if text != "0" else ""
        case "rate_limit_per_minute" | "forwarding.quota_per_day" | "forwarding.quota_per_month":
            return f"{int(text):,}" if text != "0" else "no limit"
        case "authentication_method":
            return _METHODS.get(text, text)
        case "categories":
            return ", ".join(category_name(slug) for slug in text.split(", ") if slug)
        case "visibility" | "image_type" | "forwarding.limit_scope":
            return text.replace("_", " ")
    return text


def percent(ppm: int) -> str:
    """Millionths as a percentage, exactly: 999500 is "99.95 %"."""
    return f"{(Decimal(ppm) / 10_000).normalize():f} %"


def category_name(slug: str) -> str:
    """The slug itself where a newer catalog knows one that isn't known here."""
    known = CATEGORIES.get(slug)
    return known.name if known is not None else slug


def revision_words(status: RevisionStatus.ValueType) -> tuple[str, str]:
    """What became of a revision, and its colour."""
    return _REVISIONS.get(status, ("changed", "plain"))


def authentication_methods() -> list[tuple[int, str]]:
    """The enum's values with their words, for a form."""
    return list(enumerate(_METHODS.values(), start=1))


def authentication(method: int) -> str:
    """What programs sign in with, by the enum's value."""
    return list(_METHODS.values())[method - 1] if 0 < method <= len(_METHODS) else "As documented"
