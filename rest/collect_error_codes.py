"""Collects the codes that problems may have, from where they are raised: `python rest/collect_error_codes.py`
writes them, and with --check only says whether the list is that of the code.

A code is the first argument of one of our errors or of a gateway's Problem, that argument of a function which
passes it on to one of those, or stands before its sentence in a table of transitions.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from ams_common.errors import AppError
from ams_rest import http_errors  # noqa: F401 - its errors are among AppError's

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "rest/ams_rest/error_codes.json"
# Whose problems are the consume endpoint's, and whose the API's. Pages and the registry have their own.
CONSUME = ("gateway/ams_gateway",)
API = (
    "common/ams_common",
    "identity-svc/identity_svc",
    "catalog-svc/catalog_svc",
    "keys-svc/keys_svc",
    "usage-svc/usage_svc",
    "billing-svc/billing_svc",
    "registry-svc/registry_svc/rpc",
    "registry-svc/registry_svc/images",
    "rest/ams_rest",
)


_CODE = re.compile(r"(?!ams_)[a-z]+(?:_[a-z]+)+")


@dataclass(frozen=True, order=True)
class ErrorCode:
    code: str
    status: int
    # What is answered with it, "…" for what differs.
    meaning: str
    # "api" or "consume".
    where: str


def statuses() -> Mapping[str, int]:
    """The HTTP status of each class of errors, by its name."""

    def below(kind: type[AppError]) -> Iterator[type[AppError]]:
        yield kind
        for inner in kind.__subclasses__():
            yield from below(inner)

    return {kind.__name__: kind.http_status for kind in below(AppError)}


def collect() -> list[ErrorCode]:
    """All of them, one for each code and place, by code."""
    found: dict[tuple[str, str], ErrorCode] = {}
    for where, folders in (("consume", CONSUME), ("api", API)):
        for folder in folders:
            for path in sorted((ROOT / folder).rglob("*.py")):
                # What tests stand on stands in for others, whose codes are their own.
                if "testing" in path.relative_to(ROOT / folder).parts:
                    continue
                for code in _codes_of(ast.parse(path.read_text()), where):
                    found.setdefault((code.code, code.where), code)
    if spliced := [code.code for code in found.values() if "…" in code.code]:
        sys.exit(f"write codes out, so that they can be listed: {spliced}")
    return sorted(found.values())


def _codes_of(module: ast.Module, where: str) -> Iterator[ErrorCode]:
    known = dict(statuses())
    passing: dict[str, tuple[int, int]] = {}
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and call.args and _name(call) in known:
                    first = call.args[0]
                    if isinstance(first, ast.Name) and first.id in names:
                        passing[function.name] = names.index(first.id), known[_name(call)]
    for made in ast.walk(module):
        if isinstance(made, ast.ClassDef) and made.name in known:
            # One of our errors that says its own code: super().__init__("…", "…").
            known |= {f"__init__ of {id(call)}": known[made.name] for call in ast.walk(made)}
    for call in ast.walk(module):
        if not isinstance(call, ast.Call):
            continue
        name, place, status = _name(call), 0, known.get(f"__init__ of {id(call)}", 0)
        if name in known:
            status = known[name]
        elif name == "Problem" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            status = int(str(call.args[1].value))
        elif name in passing:
            place, status = passing[name]
        if status and len(call.args) > place and (code := _text(call.args[place])):
            told = call.args[3 if name == "Problem" else place + 1 :]
            sentences = [_text(text) for text in told if _text(text).endswith(".")]
            yield ErrorCode(code, status, next(iter(sentences), ""), where)
        elif not status and where == "api":
            yield from _handed_over(call, where)


def _handed_over(call: ast.Call, where: str) -> Iterator[ErrorCode]:
    """Codes that a table holds beside their sentences, of transitions: they are refused with 409."""
    for code, sentence in pairwise(map(_text, call.args)):
        if _CODE.fullmatch(code) and sentence.endswith("."):
            yield ErrorCode(code, 409, sentence, where)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return ""


def main() -> None:
    text = json.dumps([asdict(code) for code in collect()], ensure_ascii=False, indent=1) + "\n"
    if "--check" not in sys.argv:
        LIST.write_text(text)
    elif not LIST.exists() or LIST.read_text() != text:
        sys.exit("the list of error codes is not that of the code: make gen")


if __name__ == "__main__":
    main()
