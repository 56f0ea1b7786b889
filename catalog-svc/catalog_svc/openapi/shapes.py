"""Schemas as lines that people read: what a body holds, one property a line."""

import json
from collections.abc import Iterator
from typing import Any

from ams.catalog.v1.openapi_pb2 import ShapeLine

from catalog_svc.openapi.references import follow

_MOST_DEPTH = 6
_MOST_LINES = 150
_MOST_ENUM = 12
_MOST_TEXT = 500
_MOST_NAME = 200
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "as {}",
    "default": "{} by default",
}


def plain(value: Any, most: int = _MOST_TEXT) -> str:
    """A text of a document, cut where nobody would read on; "" for what is none."""
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= most else f"{text[:most]}…"


class Shapes:
    """The schemas of one document. A tree of schemas is drawn to a depth and a number of lines, and a schema
    that holds itself once."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree

    def lines(self, schema: Any) -> list[ShapeLine]:
        drawn: list[ShapeLine] = []
        for line in self._lines(schema, "", 0, False, ()):
            if len(drawn) == _MOST_LINES:
                drawn.append(ShapeLine(type="…", description="More is in the document."))
                break
            drawn.append(line)
        return drawn

    def type_of(self, schema: Any) -> str:
        """In words, with what bounds it: "string (date), at most 10 characters"."""
        schema, _ = follow(self._tree, schema)
        if not isinstance(schema, dict):
            return "nothing" if schema is False else "anything"
        words = [self._kind(schema)]
        if isinstance(schema.get("enum"), list):
            values = schema["enum"]
            listed = ", ".join(_literal(value) for value in values[:_MOST_ENUM])
            words.append(f"one of {listed}{', …' if len(values) > _MOST_ENUM else ''}")
        if "const" in schema:
            words.append(f"always {_literal(schema['const'])}")
        words += [
            text.format(_literal(schema[name]))
            for name, text in _BOUNDS.items()
            if name in schema and not isinstance(schema[name], (bool, dict, list))
        ]
        return plain(", ".join(words))

    def _kind(self, schema: dict[str, Any], depth: int = 0) -> str:
        stated = schema.get("type")
        kinds = (
            [str(kind) for kind in stated] if isinstance(stated, list) else [str(stated)] if stated else []
        )
        if not kinds:
            kinds = [kind for kind, sign in (("object", "properties"), ("array", "items")) if sign in schema]
        if schema.get("nullable") is True and "null" not in kinds:
            kinds.append("null")
        for alternatives, text in (("oneOf", "one of these"), ("anyOf", "any of these")):
            if not kinds and isinstance(schema.get(alternatives), list):
                return text
        if "array" in kinds and depth < _MOST_DEPTH:
            items, name = follow(self._tree, schema.get("items", True))
            inner = name or (self._kind(items, depth + 1) if isinstance(items, dict) else "anything")
            kinds[kinds.index("array")] = f"list of {inner}"
        words = " or ".join(kinds) or ("object" if "allOf" in schema else "anything")
        return f"{words} ({plain(schema['format'], 40)})" if isinstance(schema.get("format"), str) else words

    def _lines(
        self, schema: Any, name: str, depth: int, is_required: bool, within: tuple[int, ...]
    ) -> Iterator[ShapeLine]:
        schema, called = follow(self._tree, schema)
        line = ShapeLine(
            depth=depth, name=plain(name, _MOST_NAME), is_required=is_required, type=self.type_of(schema)
        )
        if not isinstance(schema, dict):
            yield line
            return
        line.description = plain(schema.get("description") or schema.get("title"))
        if id(schema) in within or depth >= _MOST_DEPTH:
            line.type = plain(f"{line.type}: {called or 'as above'}", _MOST_NAME)
            yield line
            return
        yield line
        within = (*within, id(schema))
        yield from self._inside(schema, depth + 1, within)

    def _inside(self, schema: dict[str, Any], depth: int, within: tuple[int, ...]) -> Iterator[ShapeLine]:
        """What lies in an object, in a list's items, or in alternatives."""
        properties, required = self._properties(schema, within)
        for name, inner in properties.items():
            yield from self._lines(inner, str(name), depth, name in required, within)
        others = schema.get("additionalProperties")
        if isinstance(others, dict) and others:
            yield from self._lines(others, "(any name)", depth, False, within)
        items, _ = follow(self._tree, schema.get("items"))
        if isinstance(items, dict) and id(items) not in within:
            yield from self._inside(items, depth, (*within, id(items)))
        for alternatives in ("oneOf", "anyOf"):
            options = schema.get(alternatives)
            for number, option in enumerate(options if isinstance(options, list) else (), start=1):
                _, called = follow(self._tree, option)
                yield from self._lines(option, f"({called or f'option {number}'})", depth, False, within)

    def _properties(self, schema: dict[str, Any], within: tuple[int, ...]) -> tuple[dict[str, Any], set[str]]:
        """A schema's own and those of what it is all of."""
        properties: dict[str, Any] = {}
        required: set[str] = set()
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) and len(within) < 4 * _MOST_DEPTH else ():
            inner, _ = follow(self._tree, part)
            if isinstance(inner, dict) and id(inner) not in within:
                its, needed = self._properties(inner, (*within, id(inner)))
                properties |= its
                required |= needed
        own, needs = schema.get("properties"), schema.get("required")
        properties |= own if isinstance(own, dict) else {}
        required |= {str(name) for name in needs} if isinstance(needs, list) else set()
        return properties, required


def _literal(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:80]
