"""The consume endpoint as the OpenAPI document has it: it is the gateway's, and has no proto (PRD §10)."""

from typing import Any

from ams_rest.answers import PROBLEM

TAG = {
    "name": "consume",
    "description": "Calls to services, which the gateway limits, forwards to their merchants and meters.",
}
SECURITY_SCHEMES = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key: ams_live_…",
    },
    "apiKeyAsBearer": {"type": "http", "scheme": "bearer", "description": "An API key: ams_live_…"},
}
_SECURITY: list[dict[str, list[str]]] = [{"apiKeyAsBearer": []}, {"apiKey": []}]
_STATUSES = {
    "401": "No API key, or none that there is.",
    "402": "A spend cap is reached.",
    "403": "The key has expired or was revoked, or may not call this service.",
    "429": "The service's limit, or a quota, is reached. Retry-After says for how long.",
    "502": "The service isn't set up, or can't be reached.",
    "503": "The gateway or the service is busy. Retry-After says when to try again.",
    "504": "The service took too long.",
}
# Any type goes through. These are named because generated clients can't do with "*/*".
_ANY: dict[str, Any] = {
    "application/json": {"schema": {}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
_SENT: dict[str, Any] = _ANY | {
    "application/json": {"schema": {"type": "object", "additionalProperties": True}}
}
_ANSWER = {
    "description": "What the service answers, with its status and of any type; x-request-id names the call.",
    "content": _ANY,
}
_SERVICE = {"type": "string", "description": "The service's slug or id.", "maxLength": 100}


def paths(gateway_url: str) -> dict[str, Any]:
    """The two forms of a call, with the server that takes them."""
    servers = [{"url": gateway_url}]
    by_header = {
        "name": "X-AMS-Service",
        "in": "header",
        "schema": _SERVICE,
        "description": "Which service to call; `service` in the query says the same.",
    }
    by_query = {"name": "service", "in": "query", "schema": _SERVICE, "description": "As X-AMS-Service."}
    segments = [
        {"name": "service", "in": "path", "required": True, "schema": _SERVICE},
        {
            "name": "path",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "The path below the service's base URL, with its slashes.",
        },
    ]
    transparent = {
        method: _operation(f"{method.capitalize()}Through", "Call a path of a service", method != "get")
        for method in ("get", "post", "put", "patch", "delete")
    }
    return {
        "/api/consume": {
            "servers": servers,
            "parameters": [by_header, by_query],
            "post": _operation("Consume", "Call a service", True),
        },
        "/api/consume/{service}/{path}": {"servers": servers, "parameters": segments, **transparent},
    }


def _operation(name: str, summary: str, has_body: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [TAG["name"]],
        "summary": summary,
        "description": "Checked in this order: key, expiry, access, the service's set-up, limits."
        " Then forwarded as it is; the key stays behind.",
        "security": _SECURITY,
    }
    if has_body:
        operation["requestBody"] = {"description": "Of any type, and passed on as it is.", "content": _SENT}
    problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refusals = {status: {"description": told, "content": problem} for status, told in _STATUSES.items()}
    return operation | {"responses": {"200": _ANSWER} | refusals | {"default": _ANSWER}}
