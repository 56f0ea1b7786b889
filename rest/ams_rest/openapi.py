"""The OpenAPI 3.1 document of the REST API, from the contracts; nothing in it is written twice."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ams.policy.v1.policy_pb2 import UUID, Role
from ams.policy.v1.policy_pb2 import field as field_option
from google.protobuf.descriptor import FieldDescriptor

from ams_rest import comments, consume_path
from ams_rest.answers import JSON, PROBLEM
from ams_rest.areas import PROCESSES
from ams_rest.creations import Creation, creations_of
from ams_rest.examples import example_of
from ams_rest.field_paths import (
    ETAG,
    IDEMPOTENCY_KEY,
    FieldPath,
    has_field,
    json_path,
    leaves,
    resolve_template,
)
from ams_rest.routes import Route
from ams_rest.schemas import Components, Schema, Schemas, is_required

_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. Switch on `code`: it is stable, and listed at /docs/errors.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            },
        },
    },
    "examples": [
        {
            "type": "urn:ams:problem:key_not_found",
            "title": "Key not found",
            "status": 404,
            "detail": "There is no such key.",
            "code": "key_not_found",
            "request_id": "01a2265f4bf6700081bc9df971400001",
        }
    ],
}


def _header(description: str, *, is_required: bool = False, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": is_required, "schema": {"type": "string"} | schema}


_HEADERS = {
    "RequestId": _header("What to name when asking about this call.", is_required=True),
    "RateLimit": _header("What is left, and for how long (draft-ietf-httpapi-ratelimit-headers)."),
    "RateLimitPolicy": _header("How many calls may be made in which time."),
    "RetryAfter": _header("In how many seconds to try again.", pattern="^[0-9]+$"),
    "ETag": _header(
        "Changes with the answer (RFC 9110). Send it in If-None-Match, or in If-Match with a change.",
        is_required=True,
    ),
    "Location": _header("Where what was made is read.", is_required=True, format="uri-reference"),
    "Allow": _header("The methods that there are."),
    "WwwAuthenticate": _header("How to prove who calls.", is_required=True),
}
_ALWAYS = {"x-request-id": "RequestId"}
_LIMITED = {"ratelimit": "RateLimit", "ratelimit-policy": "RateLimitPolicy"}
# The refusals that a route may answer with, by status: what is meant, and the headers beside those of all.
_REFUSALS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "400": ("The request can't be read, or a field isn't what it has to be.", {}),
    "401": ("No token, or one that isn't valid any more.", {"www-authenticate": "WwwAuthenticate"}),
    "403": ("Whoever calls may not.", {}),
    "404": ("There is nothing of this name that the caller may see.", {}),
    "409": ("The state of things doesn't allow it, or it was there already.", {}),
    "412": ("It has changed since the ETag in If-Match: etag_mismatch.", {}),
    "413": ("The body is too large.", {}),
    "415": ("The body isn't JSON in UTF-8.", {}),
    "429": ("Too many calls.", {"retry-after": "RetryAfter"} | _LIMITED),
    "503": ("A part of the system can't be reached.", {"retry-after": "RetryAfter"}),
    "504": ("A part of the system took too long.", {"retry-after": "RetryAfter"}),
    "default": ("The call was refused, or failed.", {}),
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A personal access token, or the accessToken of a session.",
}


def build(routes: Sequence[Route], public_url: str, gateway_url: str = "") -> dict[str, Any]:
    """The document. `gateway_url`: where consume calls go; "": to `public_url` too.

    Raises SchemaError for a message that can't be described."""
    told = comments.load()
    components = Components(told)
    creations = creations_of(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(path_of(route), {})
        operations[route.http_method.lower()] = _operation(
            route, creations.get(route.rpc.full_name), components
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AMS",
            "version": version("ams-rest"),
            "description": "What the marketplace's pages do, for scripts; and the consume endpoint.",
        },
        "servers": [{"url": public_url}],
        "tags": [
            *(_tag(name, service, told) for name, service in _services(routes).items()),
            consume_path.TAG,
        ],
        "paths": paths | consume_path.paths(gateway_url or public_url),
        "components": {
            "schemas": {"Problem": _PROBLEM, **dict(sorted(components.schemas.items()))},
            "headers": _HEADERS,
            "responses": {_refusal_name(status): _refusal(status) for status in _REFUSALS},
            "securitySchemes": {"bearer": _BEARER} | consume_path.SECURITY_SCHEMES,
        },
    }


def _refusal_name(status: str) -> str:
    return f"Problem{status.capitalize()}"


def _refusal(status: str) -> dict[str, Any]:
    description, headers = _REFUSALS[status]
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "headers": _references({**_ALWAYS, **headers}), "content": content}


def _references(headers: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in headers.items()}


def _services(routes: Sequence[Route]) -> Mapping[str, str]:
    return {route.area.name: route.area.service.full_name for route in routes}


def _tag(name: str, service: str, told: Mapping[str, str]) -> Mapping[str, str]:
    return {"name": name} | ({"description": told[service]} if service in told else {})


def path_of(route: Route) -> str:
    """The route's path as the document has it: variables by their JSON names."""

    def shown(variable: re.Match[str]) -> str:
        return f"{{{json_path(_field_path(route, variable[1]))}}}"

    return re.sub(r"\{([^}]*)\}", shown, route.template.text)


def _field_path(route: Route, variable: str) -> FieldPath:
    path = resolve_template(route.request, variable)
    assert path is not None, "checked when the routes were made"
    return path


def _operation(route: Route, creation: Creation | None, components: Components) -> dict[str, Any]:
    told = components.comments
    operation: dict[str, Any] = {
        "operationId": route.rpc.name,
        "tags": [route.area.name],
        "summary": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", route.rpc.name).capitalize(),
        "description": " ".join([told.get(route.rpc.full_name, ""), _audience(route)]).strip(),
        "security": [] if route.rule.public else [{"bearer": []}],
    }
    sent = Schemas(components, is_sent=True)
    if parameters := [*_parameters(route, sent), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = _request_body(route, sent)
    return operation | {"responses": _responses(route, creation, Schemas(components, is_sent=False))}


def _audience(route: Route) -> str:
    if route.rule.public:
        return "Open to everybody."
    if route.rule.signed_in:
        return "For everybody who is signed in."
    return f"For {', '.join(Role.Name(role).lower() for role in route.rule.roles)}."


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    bound = [_field_path(route, variable) for variable in route.template.variables]
    in_path = [_parameter("path", path, schemas) for path in bound]
    for parameter in in_path:
        if parameter["name"] == route.area.process_field:
            parameter["schema"]["enum"] = list(PROCESSES)
    if route.body == "*":
        return in_path
    free = [path for path in leaves(route.request) if path not in bound and path[0].name != route.body]
    return in_path + [_parameter("query", path, schemas) for path in free]


def _parameter(place: str, path: FieldPath, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.parameter(path[-1])
    description = schema.pop("description", None)
    parameter: dict[str, Any] = {"name": json_path(path), "in": place, "schema": schema}
    if place == "path" or all(is_required(field) for field in path):
        parameter["required"] = True
    return parameter | ({"description": description} if description else {})


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    parameters = []
    if has_field(route.request, IDEMPOTENCY_KEY):
        told = (
            "Of your choice. Sent again with the same key, the call does nothing and is answered as it was."
        )
        schema = {"type": "string", "pattern": '^"?[!#-~]{1,64}"?$'}
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": schema, "description": told})
    if has_field(route.request, ETAG):
        told = (
            "The ETag that what is to be changed came with: refused with 412 once it has another. Several "
            "with commas: any of them. “*”: whichever it has, as without this header."
        )
        tag = '(W/)?"[!#-~]*"'
        schema = {"type": "string", "pattern": rf"^(\*|{tag}(, *{tag}){{0,19}})$"}
        parameters.append({"name": "If-Match", "in": "header", "schema": schema, "description": told})
    if route.http_method == "GET":
        told = "An ETag of before: answered with 304 and no body while nothing has changed."
        parameters.append(
            {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}, "description": told}
        )
    return parameters


def _request_body(route: Route, schemas: Schemas) -> dict[str, Any]:
    if route.body == "*":
        bound = {_field_path(route, variable)[0].name for variable in route.template.variables}
        schema = schemas.object(route.request, without=bound)
        is_needed = "required" in schema
        example = example_of(route.request, is_sent=True, without=bound)
    else:
        field: FieldDescriptor = route.request.fields_by_name[route.body]
        schema, is_needed = schemas.field(field), is_required(field)
        assert field.message_type is not None, "a body is an object"
        example = example_of(field.message_type, is_sent=True)
    return {"required": is_needed, "content": {JSON: {"schema": schema, "example": example}}}


def _responses(route: Route, creation: Creation | None, schemas: Schemas) -> dict[str, Any]:
    headers = _ALWAYS | _LIMITED
    answer_type = route.rpc.output_type
    if creation is not None and creation.item is not None:
        headers |= {"location": "Location"}
    if route.http_method == "GET" or has_field(answer_type, ETAG):
        headers |= {"etag": "ETag"}
    content = {"schema": schemas.reference(answer_type), "example": example_of(answer_type, is_sent=False)}
    answer = {
        "description": "Made." if creation is not None else "Done.",
        "headers": _references(headers),
        "content": {JSON: content},
    }
    responses: dict[str, Any] = {"201" if creation is not None else "200": answer}
    if route.http_method == "GET":
        responses["304"] = {
            "description": "Nothing has changed since the ETag in If-None-Match.",
            "headers": _references(_ALWAYS | _LIMITED | {"etag": "ETag"}),
        }
    return responses | {
        status: {"$ref": f"#/components/responses/{_refusal_name(status)}"} for status in _refused_with(route)
    }


def _refused_with(route: Route) -> list[str]:
    statuses = ["400"]
    if route.body:
        statuses += ["413", "415"]
    # Also of what is open to everybody, as signing in is: what proves who calls may be wrong.
    if not route.rule.public or route.rule.audit:
        statuses += ["401", "403"]
    if route.rule.audit or _names_something(route):
        statuses.append("404")
    if route.rule.audit:
        statuses.append("409")
    if has_field(route.request, ETAG):
        statuses.append("412")
    return [*sorted(statuses), "429", "503", "504", "default"]


def _names_something(route: Route) -> bool:
    """Whether a request can name what isn't there."""
    ids = (
        path
        for path in leaves(route.request)
        if path[-1].GetOptions().Extensions[field_option].format == UUID
    )
    return bool(route.template.variables) or next(ids, None) is not None
