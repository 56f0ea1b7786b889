"""What is shown of a document: its operations, with their parameters, bodies and answers."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ams.catalog.v1.openapi_pb2 import (
    ApiReference,
    Operation,
    OperationBody,
    OperationContent,
    OperationParameter,
    OperationResponse,
    ShapeLine,
)

from catalog_svc.openapi.problems import DocumentError
from catalog_svc.openapi.reading import Source
from catalog_svc.openapi.references import follow
from catalog_svc.openapi.shapes import Shapes, plain

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_MOST_OPERATIONS = 500
_MOST_BYTES = 1024 * 1024
# Then operations are shown without their shapes, which take most of the room.
_MOST_SHAPED_BYTES = 768 * 1024
_MOST_PATH = 500
_MOST_SUMMARY = 200
_MOST_DESCRIPTION = 4000
_MOST_EXAMPLE = 2000
_MOST_CONTENTS = 5
_MOST_ID = 120
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")


def reference_of(source: Source) -> ApiReference:
    """Without the document's summary. Raises DocumentError for what is too much to show, or where a reference
    leads nowhere."""
    return _Renderer(source).reference()


class _Renderer:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._tree = source.tree
        self._shapes = Shapes(source.tree)
        self._ids: set[str] = set()
        self._has_room = True

    def reference(self) -> ApiReference:
        made = ApiReference(description=plain(self._tree["info"].get("description"), _MOST_DESCRIPTION))
        size = 0
        for path, method, item, operation in self._operations():
            if len(made.operations) == _MOST_OPERATIONS:
                raise DocumentError(f"It has more than {_MOST_OPERATIONS} operations.")
            shown = self._operation(path, method, item, operation)
            size += shown.ByteSize()
            self._has_room = size < _MOST_SHAPED_BYTES
            if size > _MOST_BYTES:
                raise DocumentError("What it says of its operations is too much to show: 1 MiB is allowed.")
            made.operations.append(shown)
        return made

    def _operations(self) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        paths = self._tree.get("paths")
        for path, item in (paths if isinstance(paths, dict) else {}).items():
            if path.startswith("x-"):
                continue
            if len(path) > _MOST_PATH or _UNPRINTABLE.search(path):
                raise DocumentError(self._source.problem(("paths", path[:80]), "this is no path."))
            item, _ = follow(self._tree, item)
            if not isinstance(item, dict):
                continue
            more = item.get("additionalOperations")
            others = more if isinstance(more, dict) else {}
            named = [(method, item[method]) for method in item if method in _METHODS] + list(others.items())
            for method, operation in named:
                if not _TOKEN.fullmatch(method):
                    raise DocumentError(
                        self._source.problem(("paths", path), f"“{method[:40]}” is no method.")
                    )
                if isinstance(operation, dict):
                    yield path, method.upper(), item, operation

    def _operation(self, path: str, method: str, item: dict[str, Any], stated: dict[str, Any]) -> Operation:
        tags = stated.get("tags")
        shown = Operation(
            operation_id=self._id(method, path),
            method=method,
            path=path,
            summary=plain(stated.get("summary") or item.get("summary"), _MOST_SUMMARY),
            description=plain(stated.get("description") or item.get("description"), _MOST_DESCRIPTION),
            tag=plain(tags[0], 80) if isinstance(tags, list) and tags else "",
            is_deprecated=stated.get("deprecated") is True,
            parameters=self._parameters(item, stated),
        )
        body, _ = follow(self._tree, stated.get("requestBody"))
        if isinstance(body, dict):
            shown.request_body.CopyFrom(
                OperationBody(
                    description=plain(body.get("description")),
                    is_required=body.get("required") is True,
                    contents=self._contents(body),
                )
            )
        responses = stated.get("responses")
        for status, answer in (responses if isinstance(responses, dict) else {}).items():
            answer, _ = follow(self._tree, answer)
            if isinstance(answer, dict) and not status.startswith("x-"):
                description = plain(answer.get("description"))
                contents = self._contents(answer)
                shown.responses.append(
                    OperationResponse(status=plain(status, 40), description=description, contents=contents)
                )
        return shown

    def _id(self, method: str, path: str) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-")[:_MOST_ID]
        made, number = words, 2
        while made in self._ids:
            made, number = f"{words}-{number}", number + 1
        self._ids.add(made)
        return made

    def _parameters(self, item: dict[str, Any], stated: dict[str, Any]) -> Iterator[OperationParameter]:
        """The path's, as far as the operation doesn't have its own of the same name and place."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for part in (item, stated):
            listed = part.get("parameters")
            for each in listed if isinstance(listed, list) else ():
                parameter, _ = follow(self._tree, each)
                if isinstance(parameter, dict):
                    found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
        for (location, name), parameter in found.items():
            schema = parameter.get("schema", True)
            contents = parameter.get("content")
            if isinstance(contents, dict) and contents:
                first, _ = follow(self._tree, next(iter(contents.values())))
                schema = first.get("schema", True) if isinstance(first, dict) else True
            known, _ = follow(self._tree, schema)
            yield OperationParameter(
                name=plain(name, 200),
                location=plain(location, 40),
                type=self._shapes.type_of(schema),
                is_required=parameter.get("required") is True,
                is_deprecated=parameter.get("deprecated") is True,
                description=plain(parameter.get("description")),
                example=self._example(parameter) or self._example(known),
            )

    def _contents(self, part: dict[str, Any]) -> Iterator[OperationContent]:
        contents = part.get("content")
        named = list(contents.items()) if isinstance(contents, dict) else []
        for media_type, stated in named[:_MOST_CONTENTS]:
            stated, _ = follow(self._tree, stated)
            if not isinstance(stated, dict):
                continue
            if not self._has_room:
                left_out = ShapeLine(type="…", description="More is in the document.")
                yield OperationContent(media_type=plain(media_type, 200), shape=[left_out])
                continue
            schema = stated.get("schema", stated.get("itemSchema"))
            known, _ = follow(self._tree, schema)
            yield OperationContent(
                media_type=plain(media_type, 200),
                shape=self._shapes.lines(schema) if schema is not None else [],
                example=self._example(stated) or self._example(known),
            )

    def _example(self, part: Any) -> str:
        """The first one that it has, as JSON where it is no text."""
        if not isinstance(part, dict):
            return ""
        value = part.get("example")
        examples = part.get("examples")
        if value is None and isinstance(examples, dict) and examples:
            first, _ = follow(self._tree, next(iter(examples.values())))
            value = first.get("value", first.get("dataValue")) if isinstance(first, dict) else None
        elif value is None and isinstance(examples, list) and examples:
            value = examples[0]
        if value is None:
            return ""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        return text if len(text) <= _MOST_EXAMPLE else ""
