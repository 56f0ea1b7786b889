"""A document as consumers get it: nothing in it says where the merchant's API lies (decision 0022)."""

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

from catalog_svc.openapi.problems import DocumentError
from catalog_svc.openapi.redacting import ADDRESS

_MOST_SERVERS = 20


def hidden_urls(tree: dict[str, Any]) -> list[str]:
    """The addresses of its servers, variables as their defaults. Raises DocumentError for too many."""
    found = dict.fromkeys(url for part in _parts(tree) for url in _urls(part))
    if len(found) > _MOST_SERVERS:
        raise DocumentError(f"It names more than {_MOST_SERVERS} servers.")
    return list(found)


def public_text(tree: dict[str, Any]) -> str:
    """The document as JSON, with ADDRESS in place of its servers; redacting takes out what else names one."""
    published = copy.deepcopy(tree)
    for part in list(_parts(published)):
        part.pop("servers", None)
        part.pop("server", None)
    published["servers"] = [{"url": ADDRESS}]
    return json.dumps(published, ensure_ascii=False, indent=2)


def _parts(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What may have servers: the document, its paths, their operations, and links."""
    yield tree
    components = _object(tree.get("components"))
    for item in _objects(tree.get("paths"), tree.get("webhooks"), components.get("pathItems")):
        yield from _of_path(item)
    for callback in _objects(components.get("callbacks")):
        for item in _objects(callback):
            yield from _of_path(item)
    for answer in _objects(components.get("responses")):
        yield from _objects(answer.get("links"))
    yield from _objects(components.get("links"))


def _of_path(item: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    yield item
    if depth > 5:  # callbacks within callbacks within …
        item.pop("callbacks", None)
        return
    for operation in (*_objects(item), *_objects(item.get("additionalOperations"))):
        yield operation
        for callback in _objects(operation.get("callbacks")):
            for inner in _objects(callback):
                yield from _of_path(inner, depth + 1)
        for answer in _objects(operation.get("responses")):
            yield from _objects(answer.get("links"))


def _urls(part: dict[str, Any]) -> Iterator[str]:
    servers = part.get("servers")
    for server in [*(servers if isinstance(servers, list) else ()), part.get("server")]:
        stated = _object(server)
        url = stated.get("url")
        if isinstance(url, str):
            for name, variable in _object(stated.get("variables")).items():
                url = url.replace(f"{{{name}}}", str(_object(variable).get("default", "")))
            yield url[:2000]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(*values: Any) -> Iterable[dict[str, Any]]:
    return [inner for value in values for inner in _object(value).values() if isinstance(inner, dict)]
