"""Which routes make a resource, and where what they made is found: 201 and Location (RFC 9110 §15.3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ams_rest.path_templates import PathTemplate
from ams_rest.routes import Match, Route


@dataclass(frozen=True, slots=True)
class Creation:
    """A POST to a collection. `item` is the route that reads one of it; None: there is none."""

    item: Route | None

    def location(self, match: Match, document: Mapping[str, Any]) -> str | None:
        """The path of what was made, by the request's path and the answer; None where nothing reads it."""
        if self.item is None:
            return None
        path = self.item.template.text
        for variable in self.item.template.variables:
            value = match.variables.get(variable) or _find(document, _json_name(self.item, variable))
            if not value:
                return None
            path = path.replace(f"{{{variable}}}", quote(value, safe=""))
        return path


def creations_of(routes: Sequence[Route]) -> Mapping[str, Creation]:
    """Those among the routes, by the RPC's full name: who posts to a path that is also listed, or whose items
    are read below it."""
    found: dict[str, Creation] = {}
    reading = [route for route in routes if route.http_method == "GET"]
    for route in routes:
        if route.http_method != "POST" or route.template.verb:
            continue
        here = route.template.segments
        items = [read for read in reading if _is_item_of(read.template, here)]
        is_listed = any(
            read.template.segments == here and read.rpc.name.startswith("List") for read in reading
        )
        if items or is_listed:
            found[route.rpc.full_name] = Creation(items[0] if items else None)
    return found


def _is_item_of(template: PathTemplate, collection: Sequence[str]) -> bool:
    *front, last = template.segments
    return tuple(front) == tuple(collection) and last.startswith("{") and not template.verb


def _json_name(route: Route, variable: str) -> str:
    name: str = route.request.fields_by_name[variable].json_name
    return name


def _find(document: Mapping[str, Any], name: str) -> str:
    """In the answer, or in the one thing that it wraps: {"key": {"keyId": …}, "secret": …}."""
    inner = [value for value in document.values() if isinstance(value, dict)]
    return next((str(part[name]) for part in [document, *inner] if part.get(name)), "")
