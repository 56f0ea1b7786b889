"""JSON to request, and answer to JSON, by the rules of google.api.http and the protobuf JSON mapping.

Path, query and body are gathered into one JSON object of the request's shape, which is then judged and
converted as a whole.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from ams.policy.v1.policy_pb2 import field as field_option
from ams_common.errors import FieldViolation, InvalidArgumentError
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ams_rest import json_text, shapes
from ams_rest.field_paths import FieldPath, json_path, resolve, resolve_template
from ams_rest.routes import Match, Route

_INTEGER = re.compile(r"-?[0-9]{1,10}")
_MAX_PARAMETERS = 200
_MAX_VIOLATIONS = 20


def read_request(match: Match, query: bytes, body: bytes) -> Message:
    """The RPC's request. Raises InvalidArgumentError that names the fields."""
    route = match.route
    document = _body_document(route, body)
    problems = list(_add_variables(document, match))
    problems += _add_query(document, route, _parameters(query))
    problems += islice(shapes.violations(document, route.request), _MAX_VIOLATIONS)
    if problems:
        raise _refusal(problems)
    return _message(document, route.request)


def answer_document(answer: Message) -> dict[str, Any]:
    """The answer as JSON: lowerCamelCase names, fields at their defaults included, int64 as strings."""
    document: dict[str, Any] = json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)
    return document


def _body_document(route: Route, body: bytes) -> dict[str, Any]:
    if not route.body:
        if body:
            raise InvalidArgumentError("body_not_expected", "This call takes no body.")
        return {}
    value = json_text.parse(body) if body else {}
    if route.body != "*":
        return {route.request.fields_by_name[route.body].json_name: value}
    if not isinstance(value, dict):
        raise InvalidArgumentError("invalid_argument", "The body must be a JSON object.")
    return value


def _add_variables(document: dict[str, Any], match: Match) -> Iterator[FieldViolation]:
    for variable, text in match.variables.items():
        path = resolve_template(match.route.request, variable)
        assert path is not None, "checked when the routes were made"
        if not _place(document, path, _typed(text, path[-1])):
            yield FieldViolation(json_path(path), "is not what the path says")


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        text = query.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise InvalidArgumentError("query_invalid", "The query is not percent-encoded UTF-8.") from None
    except ValueError:
        raise InvalidArgumentError("query_invalid", "The query has too many parameters.") from None


def _add_query(
    document: dict[str, Any], route: Route, parameters: list[tuple[str, str]]
) -> Iterator[FieldViolation]:
    given: dict[str, tuple[FieldPath, list[Any]]] = {}
    for name, text in parameters:
        path = resolve(route.request, name)
        if path is None or not _belongs_to_query(path, route):
            yield FieldViolation(shapes.shown(name), "is not a query parameter of this call")
        elif not text and _has_a_form(path[-1]):
            yield FieldViolation(name, "must not be empty")
        else:
            given.setdefault(json_path(path), (path, []))[1].append(_typed(text, path[-1]))
    for name, (path, values) in given.items():
        if path[-1].is_repeated:
            _place(document, path, values)
        elif len(values) > 1:
            yield FieldViolation(name, "is given twice")
        else:
            _place(document, path, values[0])


def _has_a_form(field: FieldDescriptor) -> bool:
    """Whether only some texts are values of the field: then "" in a query is a mistake, not a value left
    out."""
    rule = field.GetOptions().Extensions[field_option]
    return bool(rule.format or rule.orders)


def _belongs_to_query(path: FieldPath, route: Route) -> bool:
    """A field is given in the path, in the body or in the query, never in a place of one's choice."""
    bound = ".".join(field.name for field in path)
    return route.body != "*" and path[0].name != route.body and bound not in route.template.variables


def _typed(text: str, field: FieldDescriptor) -> Any:
    """A value from a path or a query as JSON has it; what doesn't fit stays text and is refused later."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return int(text) if _INTEGER.fullmatch(text) else text
    return text


def _place(document: dict[str, Any], path: FieldPath, value: Any) -> bool:
    """Put `value` at `path`, under its JSON name. False if something else is there already."""
    inner: Any = document
    for field in path[:-1]:
        inner = inner.setdefault(field.json_name, {})
        if not isinstance(inner, dict):
            return False
    is_free: bool = inner.get(path[-1].json_name, value) == value
    inner[path[-1].json_name] = value
    return is_free


def _message(document: dict[str, Any], descriptor: Descriptor) -> Message:
    try:
        return json_format.ParseDict(document, GetMessageClass(descriptor)())
    except (json_format.ParseError, TypeError, ValueError, ArithmeticError):
        # What shapes lets through and json_format doesn't; its text may quote the client's values.
        raise InvalidArgumentError(
            "invalid_argument", "The request has a value that can't be read."
        ) from None


def _refusal(problems: list[FieldViolation]) -> InvalidArgumentError:
    first = problems[0]
    sentence = f"{first.field} {first.description}."
    return InvalidArgumentError("invalid_argument", sentence, problems[:_MAX_VIOLATIONS])
