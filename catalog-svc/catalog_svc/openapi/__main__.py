"""Examines one document: its text on the standard input, what is found as JSON on the standard output.

A process of its own, for the parser and the validator are others' code that reads a stranger's text: time,
memory and files are bounded here, whatever they do.
"""

import base64
import json
import resource
import sys
from typing import Any

from catalog_svc.openapi.checking import check
from catalog_svc.openapi.problems import DocumentError
from catalog_svc.openapi.publishing import hidden_urls, public_text
from catalog_svc.openapi.reading import Source, read
from catalog_svc.openapi.redacting import ADDRESS, redact_reference, redactor
from catalog_svc.openapi.rendering import reference_of

_MOST_CPU_S = 10
_MOST_MEMORY_BYTES = 1024 * 1024 * 1024
_MOST_PUBLIC_BYTES = 2 * 1024 * 1024
# Loads what the validators read from files.
_SMALLEST = """{"openapi": "%s", "info": {"title": "a", "version": "1"}, "paths": {}}"""
_VERSIONS = ("3.0.3", "3.1.0", "3.2.0")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    text = sys.stdin.buffer.read().decode()
    for version in _VERSIONS:
        if version[:3] in text:
            check(read(_SMALLEST % version))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S))
    # From here on nothing can be opened, neither a file nor a connection: no reference is ever fetched.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    try:
        found = _examine(read(text))
    except DocumentError as error:
        found = {"problems": error.problems}
    except (MemoryError, RecursionError):
        found = {"problems": ["It is too intricate to be examined."]}
    json.dump(found, sys.stdout)


def _examine(source: Source) -> dict[str, Any]:
    check(source)
    info = source.tree["info"]
    redact = redactor(hidden_urls(source.tree), ADDRESS)
    published = redact(public_text(source.tree))
    reference = reference_of(source)
    redact_reference(reference, redact)
    if len(published.encode()) > _MOST_PUBLIC_BYTES:
        raise DocumentError("It is too large: as JSON, with aliases written out, 2 MiB are allowed.")
    return {
        "media_type": source.media_type,
        "openapi_version": source.tree["openapi"][:20],
        "title": redact(info["title"])[:200],
        "version": redact(info["version"])[:100],
        "reference": base64.b64encode(reference.SerializeToString()).decode(),
        "public_content": published,
    }


if __name__ == "__main__":
    main()
