"""The OpenAPI documents of services, as they are stored: in short, and whole. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from ams.catalog.v1.openapi_pb2 import (
    OPERATION_ADDED,
    OPERATION_CHANGED,
    OPERATION_REMOVED,
    ApiReference,
    OpenapiSummary,
    Operation,
    OperationChange,
    OperationDifference,
)
from ams_common.clock import to_timestamp
from ams_common.errors import InvalidArgumentError, NotFoundError

from catalog_svc.openapi.examining import Examined
from catalog_svc.openapi.redacting import redactor

D = TypeVar("D")

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# For the search; what would be further back counts for nothing.
_MOST_WORDS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document in short, as lists have it."""

    document_id: UUID
    title: str
    version: str
    openapi_version: str
    operation_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentText:
    """A row of openapi_documents, without what a Document has. `reference` is an ApiReference."""

    content: str
    media_type: str
    reference: bytes
    public_content: str


def document_of(column: str | None) -> Document | None:
    """Makes the document that openapi_summary() gives."""
    if column is None:
        return None
    values = json.loads(column)
    return Document(
        **{
            **values,
            "document_id": UUID(values["document_id"]),
            "created_at": datetime.fromisoformat(values["created_at"]),
        }
    )


def text_of(row: Mapping[str, Any]) -> DocumentText:
    return DocumentText(**{name: row[name] for name in DocumentText.__slots__})


def new_document(document_id: UUID, examined: Examined, base_url: str, now: datetime) -> Document:
    """Its title and version are shown to everybody, and so tell no address."""
    redact = redactor([base_url], "https://…")
    return Document(
        document_id=document_id,
        title=redact(examined.title),
        version=redact(examined.version),
        openapi_version=examined.openapi_version,
        operation_count=len(examined.reference.operations),
        created_at=now,
    )


def words_of(examined: Examined, base_url: str) -> str:
    """What the search finds a service by: the words in paths and summaries, without addresses."""
    redact = redactor([base_url], "")
    texts = [redact(f"{each.path} {each.summary} {each.tag}") for each in examined.reference.operations]
    words = dict.fromkeys(
        word.lower() for text in texts for word in _WORD.findall(f"{text} {_CAMEL.sub(' ', text)}")
    )
    return " ".join(words)[:_MOST_WORDS]


def summary_message(document: Document) -> OpenapiSummary:
    return OpenapiSummary(
        document_id=str(document.document_id),
        title=document.title,
        version=document.version,
        openapi_version=document.openapi_version,
        operation_count=document.operation_count,
        created_at=to_timestamp(document.created_at),
    )


def summary_text(summary: OpenapiSummary) -> str:
    """For who reads what has changed; "" for none."""
    if not summary.document_id:
        return ""
    moment = summary.created_at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
    count = summary.operation_count
    operations = f"{count} operation" if count == 1 else f"{count} operations"
    return f"{summary.title} {summary.version}, {operations}, of {moment} UTC"


def operation_changes(before: ApiReference, after: ApiReference) -> list[OperationChange]:
    """What the later document does with the operations that there are: those in it in its order, then those
    that it hasn't any more."""
    old, new = _by_name(before.operations), _by_name(after.operations)
    changes = [
        _change(operation, OPERATION_CHANGED if name in old else OPERATION_ADDED)
        for name, operation in new.items()
        if name not in old or old[name] != operation
    ]
    return changes + [
        _change(operation, OPERATION_REMOVED) for name, operation in old.items() if name not in new
    ]


def check_has_one(found: D | None) -> D:
    """A document, or its text. Raises NotFoundError openapi_document_not_found."""
    if found is None:
        raise NotFoundError("openapi_document_not_found", "This service has no OpenAPI document.")
    return found


def check_is_for(service_type: str) -> None:
    """Raises InvalidArgumentError openapi_document_not_for_images."""
    if service_type != "api":
        raise InvalidArgumentError(
            "openapi_document_not_for_images",
            "A Docker service has no OpenAPI document: nobody calls it through AMS.",
        )


def _by_name(operations: Iterable[Operation]) -> dict[tuple[str, str], Operation]:
    return {(each.method, each.path): each for each in operations}


def _change(operation: Operation, difference: OperationDifference.ValueType) -> OperationChange:
    return OperationChange(
        method=operation.method, path=operation.path, difference=difference, summary=operation.summary
    )
