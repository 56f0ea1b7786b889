"""The OpenAPI 3.1 document of the REST API, from the contracts; nothing in it is written twice."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ams.policy.v1.policy_pb2 import Role
from google.protobuf.descriptor import FieldDescriptor

from ams_rest import comments
from ams_rest.answers import JSON, PROBLEM
from ams_rest.field_paths import FieldPath, json_path, leaves, resolve
from ams_rest.routes import Route
from ams_rest.schemas import Schema, Schemas, is_required

_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. Switch on `code`: it is stable; the sentences are not.",
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
}
_PROBLEM_RESPONSE = {
    "description": "The call was refused, or failed.",
    "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEM_REFERENCE = {"$ref": "#/components/responses/Problem"}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The accessToken of a session.",
}


def build(routes: Sequence[Route], public_url: str) -> dict[str, Any]:
    """The document. Raises SchemaError for a message that can't be described."""
    told = comments.load()
    schemas = Schemas(told)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(path_of(route), {})
        operations[route.http_method.lower()] = _operation(route, schemas, told)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AMS",
            "version": version("ams-rest"),
            "description": "The API of the marketplace.",
        },
        "servers": [{"url": public_url}],
        "tags": [_tag(name, service, told) for name, service in _services(routes).items()],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **dict(sorted(schemas.components.items()))},
            "responses": {"Problem": _PROBLEM_RESPONSE},
            "securitySchemes": {"bearer": _BEARER},
        },
    }


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
    path = resolve(route.request, variable)
    assert path is not None, "checked when the routes were made"
    return path


def _operation(route: Route, schemas: Schemas, told: Mapping[str, str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.rpc.name,
        "tags": [route.area.name],
        "summary": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", route.rpc.name).capitalize(),
        "description": " ".join([told.get(route.rpc.full_name, ""), _audience(route)]).strip(),
        "security": [] if route.rule.public else [{"bearer": []}],
    }
    if parameters := _parameters(route, schemas):
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = _request_body(route, schemas)
    return operation | {"responses": _responses(route, schemas)}


def _audience(route: Route) -> str:
    if route.rule.public:
        return "Open to everybody."
    if route.rule.signed_in:
        return "For everybody who is signed in."
    return f"For {', '.join(Role.Name(role).lower() for role in route.rule.roles)}."


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    bound = [_field_path(route, variable) for variable in route.template.variables]
    in_path = [_parameter("path", path, schemas) for path in bound]
    if route.body == "*":
        return in_path
    free = [path for path in leaves(route.request) if path not in bound and path[0].name != route.body]
    return in_path + [_parameter("query", path, schemas) for path in free]


def _parameter(place: str, path: FieldPath, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.field(path[-1])
    description = schema.pop("description", None)
    parameter: dict[str, Any] = {"name": json_path(path), "in": place, "schema": schema}
    if place == "path" or all(is_required(field) for field in path):
        parameter["required"] = True
    return parameter | ({"description": description} if description else {})


def _request_body(route: Route, schemas: Schemas) -> dict[str, Any]:
    if route.body == "*":
        bound = {_field_path(route, variable)[0].name for variable in route.template.variables}
        schema: Schema = {**schemas.object(route.request, without=bound), "additionalProperties": False}
        is_needed = "required" in schema
    else:
        field: FieldDescriptor = route.request.fields_by_name[route.body]
        schema, is_needed = schemas.field(field), is_required(field)
    return {"required": is_needed, "content": {JSON: {"schema": schema}}}


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    answer = {"description": "Done.", "content": {JSON: {"schema": schemas.reference(route.rpc.output_type)}}}
    refusals = ["400"] if route.rule.public else ["400", "401", "403"]
    return {"200": answer} | dict.fromkeys([*refusals, "default"], _PROBLEM_REFERENCE)
