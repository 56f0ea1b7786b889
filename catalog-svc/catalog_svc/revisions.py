"""Revisions: changes of a service in the marketplace that wait for an admin. Pure: `now` is an argument."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from ams.audit.v1.events_pb2 import FieldChange
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.errors import FailedPreconditionError, NotFoundError
from google.protobuf.json_format import MessageToDict, ParseDict

from catalog_svc.documents import Document, document_of
from catalog_svc.edits import apply_edit
from catalog_svc.records import ServiceRecord

PENDING = "pending"
APPROVED = "approved"
REJECTED = "rejected"
WITHDRAWN = "withdrawn"
# What a Service calls it; UpdateService doesn't take it.
DOCUMENT = "openapi_document"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A row of service_revisions; `status` holds the database's word.

    `content` has the fields that it changes and names them in its mask. `document` is the OpenAPI document
    that it would have, if it changes that. `changes` is what differed when it was decided, None until then.
    """

    revision_id: UUID
    service_id: UUID
    number: int
    status: str
    content: pb.UpdateServiceRequest
    created_at: datetime
    updated_at: datetime
    changes: tuple[FieldChange, ...] | None = None
    reason: str = ""
    version: int = 1
    decided_at: datetime | None = None
    changes_document: bool = False
    document: Document | None = None

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(self.content.update_mask.paths) | (
            {DOCUMENT} if self.changes_document else frozenset()
        )


# Out of columns that hold JSON.
_READ = ("content", "changes", "document")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a revision is to change."""

    content: pb.UpdateServiceRequest
    changes_document: bool = False
    document: Document | None = None

    @property
    def is_nothing(self) -> bool:
        return not self.content.update_mask.paths and not self.changes_document


def wanted_by(revision: Revision | None, record: ServiceRecord) -> Wanted:
    """What the open revision changes of the service; nothing without one."""
    if revision is None:
        return Wanted(content=pb.UpdateServiceRequest(service_id=str(record.service_id)))
    return Wanted(
        content=revision.content, changes_document=revision.changes_document, document=revision.document
    )


def revision_of(row: Mapping[str, Any]) -> Revision:
    """Makes the revision that a row of service_revisions holds."""
    columns = {name: row[name] for name in Revision.__slots__ if name not in _READ}
    # A later release may have known fields that this one doesn't.
    content = ParseDict(json.loads(row["content"]), pb.UpdateServiceRequest(), ignore_unknown_fields=True)
    changes = None if row["changes"] is None else json.loads(row["changes"])
    return Revision(
        **columns,
        document=document_of(row["document"]),
        content=content,
        changes=None if changes is None else tuple(FieldChange(**each) for each in changes),
    )


def columns_of(revision: Revision) -> dict[str, Any]:
    changes = None
    if revision.changes is not None:
        changes = json.dumps(
            [{"field": each.field, "before": each.before, "after": each.after} for each in revision.changes]
        )
    return {
        "revision_id": revision.revision_id,
        "status": revision.status,
        "content": content_json(revision.content),
        "changes": changes,
        "reason": revision.reason,
        "version": revision.version,
        "updated_at": revision.updated_at,
        "decided_at": revision.decided_at,
        "changes_document": revision.changes_document,
        "document_id": revision.document.document_id if revision.document is not None else None,
    }


def content_json(content: pb.UpdateServiceRequest) -> str:
    return json.dumps(MessageToDict(content, preserving_proto_field_name=True))


def proposed(record: ServiceRecord, revision: Revision, now: datetime) -> ServiceRecord:
    """The service as it would be with the revision. Raises InvalidArgumentError where a rule that it kept
    when it was made has become stricter."""
    after = apply_edit(record, revision.content, revision.content.update_mask.paths, now)
    # Once it is decided it has no document any more.
    is_open = revision.status == PENDING
    return replace(after, document=revision.document) if revision.changes_document and is_open else after


def merged(
    content: pb.UpdateServiceRequest, request: pb.UpdateServiceRequest, fields: Iterable[str]
) -> pb.UpdateServiceRequest:
    """The content with `fields` as in the request."""
    result = pb.UpdateServiceRequest()
    result.CopyFrom(content)
    for path in fields:
        *outer, last = path.split(".")
        source: Any = request
        target: Any = result
        for name in outer:
            source, target = getattr(source, name), getattr(target, name)
        target.ClearField(last)
        value = getattr(source, last)
        if isinstance(value, (str, int)):
            setattr(target, last, value)
        else:
            getattr(target, last).MergeFrom(value)
    return with_mask(result, {*result.update_mask.paths, *fields})


def with_mask(content: pb.UpdateServiceRequest, fields: Iterable[str]) -> pb.UpdateServiceRequest:
    """The content naming these of its fields alone."""
    result = pb.UpdateServiceRequest()
    result.CopyFrom(content)
    result.update_mask.paths[:] = sorted(fields)
    return result


def amended(revision: Revision, wanted: "Wanted", now: datetime) -> Revision:
    """The open revision changing something else."""
    return replace(
        revision,
        content=wanted.content,
        changes_document=wanted.changes_document,
        document=wanted.document,
        version=revision.version + 1,
        updated_at=now,
    )


def check_version(revision: Revision, version: int) -> None:
    """Raises FailedPreconditionError revision_changed where another version was looked at."""
    if revision.version != version:
        raise FailedPreconditionError(
            "revision_changed", "This revision has changed since you looked at it. Look at it again."
        )


def check_open(revision: Revision | None) -> Revision:
    """The revision. Raises NotFoundError revision_not_found, or FailedPreconditionError
    revision_not_pending."""
    if revision is None:
        raise revision_not_found()
    if revision.status != PENDING:
        raise FailedPreconditionError("revision_not_pending", "This revision doesn't wait for a decision.")
    return revision


def decided(
    revision: Revision, status: str, changes: Iterable[FieldChange], now: datetime, reason: str = ""
) -> Revision:
    """The revision approved, rejected or withdrawn, with what it would have changed then."""
    return replace(
        revision,
        status=status,
        changes=tuple(changes),
        document=None,
        reason=reason,
        version=revision.version + 1,
        updated_at=now,
        decided_at=now,
    )


def revision_not_found() -> NotFoundError:
    return NotFoundError("revision_not_found", "There is no such revision.")
