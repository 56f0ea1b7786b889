"""The OpenAPI document as people read it: operations by area, and what their fields hold. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request or an answer, or a parameter. `depth`: how far inside others, from 0."""

    name: str
    kind: str
    description: str
    is_required: bool
    place: str = ""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One call, ready to be shown."""

    name: str
    summary: str
    description: str
    method: str
    path: str
    parameters: Sequence[Field]
    body: Sequence[Field]
    body_example: str
    status: str
    answer: Sequence[Field]
    answer_example: str
    refusals: Sequence[str]


@dataclass(frozen=True, slots=True)
class Area:
    """The operations of one tag."""

    name: str
    description: str
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class ErrorCode:
    code: str
    status: int
    meaning: str
    # "api" or "consume".
    where: str


def error_codes() -> Sequence[ErrorCode]:
    """All codes that a problem may have, sorted."""
    text = files("ams_rest").joinpath("error_codes.json").read_text()
    return [ErrorCode(**code) for code in json.loads(text)]


def areas_of(document: Mapping[str, Any]) -> Mapping[str, Area]:
    """The areas by name, in the document's order."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                found[operation["tags"][0]].append(_operation(document, method, path, operation, shared))
    return {
        tag["name"]: Area(tag["name"], tag.get("description", ""), found[tag["name"]])
        for tag in document["tags"]
    }


def _operation(
    document: Mapping[str, Any],
    method: str,
    path: str,
    operation: Mapping[str, Any],
    shared: Sequence[Mapping[str, Any]],
) -> Operation:
    responses: Mapping[str, Any] = operation["responses"]
    status = next(iter(responses))
    body, answer = _json(operation.get("requestBody", {})), _json(responses[status])
    return Operation(
        name=operation["operationId"],
        summary=operation["summary"],
        description=operation["description"],
        method=method.upper(),
        path=path,
        parameters=[_parameter(document, each) for each in [*shared, *operation.get("parameters", [])]],
        body=list(_fields(document, body.get("schema", {}))),
        body_example=_pretty(body.get("example")),
        status=status,
        answer=list(_fields(document, answer.get("schema", {}))),
        answer_example=_pretty(answer.get("example")),
        refusals=[other for other in responses if other not in (status, "default")],
    )


def _json(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = holder.get("content", {}).get("application/json", {})
    return content


def _pretty(example: Any) -> str:
    return "" if example is None else json.dumps(example, ensure_ascii=False, indent=2)


def _parameter(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> Field:
    schema = parameter["schema"]
    told = parameter.get("description") or schema.get("description", "")
    is_required = parameter.get("required", False)
    return Field(parameter["name"], _kind(document, schema), told, is_required, parameter["in"])


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Iterator[Field]:
    """An object's fields, each followed by those of what it holds, as deep as can be read."""
    schema = _resolved(document, schema)
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        told = inner.get("description") or _resolved(document, _item(inner)).get("description", "")
        yield Field(name, _kind(document, inner), told, name in required, depth=depth)
        if depth < _DEPTH:
            yield from _fields(document, _item(inner), depth + 1)


def _item(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    items: Mapping[str, Any] = schema.get("items", schema)
    return items


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """In words: "list of string", "uuid", "one of DRAFT, ACTIVE"."""
    if "items" in schema:
        return f"list of {_kind(document, schema['items'])}"
    resolved = _resolved(document, schema)
    if "enum" in resolved:
        return "one of " + ", ".join(resolved["enum"])
    if isinstance(inner := resolved.get("additionalProperties"), dict):
        return f"object of {_kind(document, inner)}"
    return str(resolved.get("format") or resolved.get("type", "any"))
