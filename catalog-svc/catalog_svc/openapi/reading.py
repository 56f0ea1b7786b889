"""A document's text as a tree of what JSON knows. Bounded: a small text may stand for a tree that fills the
memory, by aliases in YAML, or be nested so deeply that whatever walks through it fails."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from catalog_svc.openapi.problems import DocumentError, Place, problem_at

JSON = "application/json"
YAML = "application/yaml"

_MOST_DEPTH = 60
_MOST_NODES = 100_000
_MOST_CHARACTERS = 2 * 1024 * 1024
# Values of plain words, as JSON has them: what YAML 1.1 takes "no" or "2026-11-29" for isn't meant.
_WORDS: Mapping[str, Any] = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9]{1,300}")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Source:
    """A document as it was read. `lines`: where places stand, from 1; of JSON nothing is known."""

    tree: dict[str, Any]
    media_type: str
    lines: Mapping[Place, int] = field(default_factory=dict)

    def problem(self, place: Place, text: str) -> str:
        """A sentence about a place, with its line or that of what it lies in."""
        known = (
            self.lines[place[:length]] for length in range(len(place), -1, -1) if place[:length] in self.lines
        )
        return problem_at(place, text, next(known, 0))


def read(text: str) -> Source:
    """What begins with a brace is JSON, all else YAML. Raises DocumentError."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        source = Source(_read_json(text.lstrip("\ufeff")), JSON)
    else:
        tree, lines = _YamlReader().read(text)
        if not isinstance(tree, dict):
            raise DocumentError(
                "It is no OpenAPI document: it must begin with names and values, such as “openapi: 3.1.0”."
            )
        source = Source(tree, YAML, lines)
    _check_tree(source)
    return source


def _read_json(text: str) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise DocumentError(
            f"At line {error.lineno}, column {error.colno}: this is no JSON: {error.msg}."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # a number of thousands of digits
        raise DocumentError("It has a number that is too long.") from None
    return tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"The name “{twice[:80]}” stands twice in one object.")
    return made


def _no_constant(word: str) -> Any:
    raise DocumentError(f"It has {word}, which is no number in JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise DocumentError("It has a number that is too large.")
    return number


@dataclass
class _Frame:
    """A list or an object that isn't complete yet."""

    value: Any
    place: Place
    anchor: str | None
    nodes_before: int
    characters_before: int
    key: str | None = None


class _YamlReader:
    """Builds the tree from the parser's events: nothing here calls itself, and what an alias stands for
    counts each time."""

    def __init__(self) -> None:
        self._frames: list[_Frame] = []
        self._lines: dict[Place, int] = {}
        # What each anchor names: the value, and what it counts for.
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._nodes = 0
        self._characters = 0
        self._root: list[Any] = []

    def read(self, text: str) -> tuple[Any, dict[Place, int]]:
        documents = 0
        try:
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                documents += isinstance(event, yaml.DocumentStartEvent)
                if documents > 1:
                    raise DocumentError("It holds more than one YAML document.")
                self._take(event)
        except yaml.MarkedYAMLError as error:
            raise DocumentError(f"At {_marked(error)}: this is no YAML: {error.problem}.") from None
        except yaml.YAMLError:
            raise DocumentError("It has a character that YAML doesn't allow.") from None
        return self._root[0] if self._root else None, self._lines

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._count(1, len(event.value))
            self._put(event, event.value if self._is_key else _scalar(event))
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise DocumentError(
                    f"At line {_line(event)}: the alias “{event.anchor}” stands for what isn't complete."
                )
            value, nodes, characters = self._anchors[event.anchor]
            self._count(nodes, characters)
            self._put(event, value)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._count(1, 0)
            self._begin(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            frame = self._frames.pop()
            if frame.anchor:
                nodes, characters = (
                    self._nodes - frame.nodes_before,
                    self._characters - frame.characters_before,
                )
                self._anchors[frame.anchor] = frame.value, nodes, characters

    @property
    def _is_key(self) -> bool:
        return (
            bool(self._frames) and isinstance(self._frames[-1].value, dict) and self._frames[-1].key is None
        )

    def _count(self, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > _MOST_NODES or self._characters > _MOST_CHARACTERS:
            raise _too_large()

    def _begin(self, event: Any) -> None:
        if self._is_key:
            raise DocumentError(f"At line {_line(event)}: a name must be a word, not a list or an object.")
        if len(self._frames) >= _MOST_DEPTH:
            raise _too_deep()
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            raise DocumentError(f"At line {_line(event)}: the tag “{event.tag}” isn't of JSON.")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        nodes, characters = self._nodes - 1, self._characters
        place = self._add(event, value)
        self._frames.append(_Frame(value, place, event.anchor, nodes, characters))

    def _put(self, event: Any, value: Any) -> None:
        if not self._is_key:
            self._add(event, value)
        elif not isinstance(value, str):
            raise DocumentError(f"At line {_line(event)}: a name must be a word, not a list or an object.")
        elif value in self._frames[-1].value:
            raise DocumentError(
                f"At line {_line(event)}: the name “{value[:80]}” stands twice in one object."
            )
        else:
            self._frames[-1].key = value
            self._lines[(*self._frames[-1].place, value)] = _line(event)
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self._anchors[event.anchor] = value, 1, len(event.value)

    def _add(self, event: Any, value: Any) -> Place:
        """Puts a value where it belongs; where that is."""
        if not self._frames:
            self._root.append(value)
            return ()
        frame = self._frames[-1]
        if isinstance(frame.value, list):
            place = (*frame.place, len(frame.value))
            frame.value.append(value)
            self._lines[place] = _line(event)
            return place
        assert frame.key is not None, "a value follows its name"
        place = (*frame.place, frame.key)
        frame.value[frame.key], frame.key = value, None
        return place


def _scalar(event: Any) -> Any:
    tag = (event.tag or "").removeprefix(_TAG)
    if event.tag not in (None, "!") and tag not in ("str", "int", "float", "bool", "null"):
        raise DocumentError(f"At line {_line(event)}: the tag “{event.tag}” isn't of JSON.")
    if tag == "str" or not event.implicit[0]:
        return event.value
    text: str = event.value
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return _finite(text) if _DECIMAL.fullmatch(text) else text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _marked(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else "some line"


def _check_tree(source: Source) -> None:
    """Raises DocumentError for a tree that is too large, or has what is no text."""
    characters = 0
    for nodes, (place, value) in enumerate(walk(source.tree), start=1):
        if nodes > _MOST_NODES:
            raise _too_large()
        if len(place) > _MOST_DEPTH:
            raise _too_deep()
        texts = [text for text in (value, place[-1] if place else None) if isinstance(text, str)]
        characters += sum(map(len, texts))
        if characters > _MOST_CHARACTERS:
            raise _too_large()
        if not all(map(_is_text, texts)):
            raise DocumentError(source.problem(place[:-1], "there is a character that is no text."))


def _is_text(text: str) -> bool:
    """Neither NUL nor half of a surrogate pair, which JSON can name."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def walk(tree: Any) -> Iterator[tuple[Place, Any]]:
    """Every value of a tree with its place, from the root on."""
    waiting: list[tuple[Place, Any]] = [((), tree)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        if isinstance(value, dict):
            waiting.extend(((*place, name), inner) for name, inner in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend(((*place, index), inner) for index, inner in reversed(list(enumerate(value))))


def _too_deep() -> DocumentError:
    return DocumentError(f"It is nested too deeply: {_MOST_DEPTH} levels are allowed.")


def _too_large() -> DocumentError:
    return DocumentError(
        f"It is too large: {_MOST_NODES:,} values and {_MOST_CHARACTERS // 1024 // 1024} MiB of text are "
        "allowed, each counted as often as an alias stands for it."
    )
