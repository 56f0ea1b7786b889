"""Path templates of google.api.http: "/v1/services/{service_id}:approve".

A variable is one segment. A colon in the last segment starts a verb, so a colon that belongs to a value
comes percent-encoded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from ams_common.errors import InvalidArgumentError

_FIELD_PATH = r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*"
_TEMPLATE = re.compile(rf"(?:/(?:[A-Za-z0-9._~-]+|\{{{_FIELD_PATH}\}}))+(?::[A-Za-z]+)?")


class TemplateError(Exception):
    """A path template is not of the kind that is served here."""


@dataclass(frozen=True, slots=True)
class RequestPath:
    """A request's path: its segments, decoded once, and the verb after the colon ("" if none)."""

    segments: tuple[str, ...]
    verb: str

    @classmethod
    def parse(cls, raw_path: bytes) -> Self:
        """Raises InvalidArgumentError for what isn't UTF-8 and for encoded slashes, which proxies and
        services read differently."""
        try:
            *front, last = raw_path.decode("ascii").removeprefix("/").split("/")
            last, _, verb = last.partition(":")
            segments = tuple(unquote(segment, errors="strict") for segment in [*front, last])
        except UnicodeDecodeError:
            raise InvalidArgumentError("path_invalid", "The path is not percent-encoded UTF-8.") from None
        if any("/" in segment for segment in segments):
            raise InvalidArgumentError("path_invalid", "The path must not contain an encoded slash.")
        return cls(segments, verb)


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A parsed template; a segment in braces is a variable that names a field of the request."""

    text: str
    segments: tuple[str, ...]
    verb: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises TemplateError for wildcards and whatever else isn't served here."""
        if not _TEMPLATE.fullmatch(text):
            raise TemplateError(f"{text!r} is not a path template of literals and {{field}} segments")
        path, _, verb = text.partition(":")
        template = cls(text, tuple(path.removeprefix("/").split("/")), verb)
        if len(set(template.variables)) != len(template.variables):
            raise TemplateError(f"{text!r} names a field twice")
        return template

    @property
    def variables(self) -> tuple[str, ...]:
        """The paths of the fields that the template binds, by proto name."""
        return tuple(segment[1:-1] for segment in self.segments if _is_variable(segment))

    def match(self, path: RequestPath) -> Mapping[str, str] | None:
        """The values of the variables if the path fits, else None. A variable is never empty."""
        if self.verb != path.verb or len(self.segments) != len(path.segments):
            return None
        values: dict[str, str] = {}
        for segment, text in zip(self.segments, path.segments, strict=True):
            if _is_variable(segment) and text:
                values[segment[1:-1]] = text
            elif segment != text:
                return None
        return values

    def overlaps(self, other: "PathTemplate") -> bool:
        """Whether there is a path that fits both templates."""
        return (self.verb, len(self.segments)) == (other.verb, len(other.segments)) and all(
            one == two or _is_variable(one) or _is_variable(two)
            for one, two in zip(self.segments, other.segments, strict=True)
        )


def _is_variable(segment: str) -> bool:
    return segment.startswith("{")
