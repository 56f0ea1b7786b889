"""What a document's references lead to: places in the document itself."""

from typing import Any

from catalog_svc.openapi.problems import DocumentError

_MOST_STEPS = 20


def follow(tree: dict[str, Any], node: Any) -> tuple[Any, str]:
    """What a node stands for, and the last name on the way there; "" for what is no reference. Raises
    DocumentError for a reference to what isn't there, or that never ends."""
    name = ""
    for _ in range(_MOST_STEPS):
        reference = node.get("$ref") if isinstance(node, dict) else None
        if not isinstance(reference, str):
            return node, name
        node, name = _at(tree, reference), reference.rpartition("/")[2]
    raise DocumentError(f"The reference “{reference}” leads in a circle.")


def _at(tree: dict[str, Any], reference: str) -> Any:
    node: Any = tree
    for step in reference.removeprefix("#/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if (
            isinstance(node, list)
            and key.isascii()
            and key.isdigit()
            and len(key) < 7
            and int(key) < len(node)
        ):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            raise DocumentError(f"It refers to “{reference[:200]}”, which isn't in it.")
    return node
