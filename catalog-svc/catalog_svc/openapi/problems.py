"""What is wrong with a document, for who wrote it."""

from collections.abc import Iterable
from typing import TypeAlias

# From the document's root to a place in it.
Place: TypeAlias = tuple[str | int, ...]


class DocumentError(Exception):
    """Each of `problems` is a sentence that begins with where it stands."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def pointer_of(place: Iterable[str | int]) -> str:
    """A place as references name it: "#/paths/~1cities/get"."""
    return "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


def problem_at(place: Iterable[str | int], text: str, line: int = 0) -> str:
    """A sentence about a place; `line` from 1, 0 where none is known."""
    pointer = pointer_of(place)
    if pointer == "#":
        return f"{text[:1].upper()}{text[1:]}"
    where = f"line {line}, {pointer}" if line else pointer
    return f"At {where}: {text}"
