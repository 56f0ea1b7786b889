"""The audit log as a whole: records stored and found, the chain verified, old records purged."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from ams.audit.v1.events_pb2 import AuditRecord, FieldChange
from ams_common.clock import from_timestamp, to_timestamp
from ams_common.database import Database
from ams_common.loops import run_forever
from ams_common.queries import QueryStore, column, many, one, page, run, value

from identity_svc.audit_chain import BEGINNING, ChainCheck, ChainedRecord, Checkpoint

log = logging.getLogger(__name__)

_VERIFIED_AT_ONCE = 1000
# A log that was tampered with thoroughly would fill the screen.
_MOST_PROBLEMS = 20
_CHECKPOINT_EVERY_S = 3600.0
_PURGED_AT_ONCE = 1000
_TEXTS = ("actor", "action", "resource", "resource_id", "request_id", "credential", "client_address")
_CHANGE_PARTS = ("field", "before", "after")


def audit_record_message(
    *, audit_id: UUID, occurred_at: datetime, details: str, changes: str, **texts: str
) -> AuditRecord:
    """`texts`: actor, action, resource, resource_id, request_id, credential, client_address. `details` and
    `changes` are JSON."""
    return AuditRecord(
        audit_id=str(audit_id),
        occurred_at=to_timestamp(occurred_at),
        details=json.loads(details),
        changes=[FieldChange(**change) for change in json.loads(changes)],
        **texts,
    )


class AuditStore(QueryStore, package="identity_svc", file="audit_queries.sql"):
    """What the service may do with the log: add records, read them, and have old ones purged."""

    _insert_records = run()
    list_records = page(audit_record_message)
    find_people = column(str)
    find_head = one(Checkpoint)
    find_beginning = one(Checkpoint)
    read_chain = many(ChainedRecord)
    purge_records = value(int)

    async def add(self, records: Iterable[AuditRecord]) -> None:
        """Adds the records, but those that are there. Raises ValueError when an id is none."""
        await self._insert_records(records=json.dumps([_row(record) for record in records]))


def _row(record: AuditRecord) -> Mapping[str, object]:
    changes = [{part: getattr(change, part) for part in _CHANGE_PARTS} for change in record.changes]
    return {
        "audit_id": str(UUID(record.audit_id)),
        "occurred_at": from_timestamp(record.occurred_at).isoformat(),
        "details": dict(record.details),
        "changes": changes,
        **{field: getattr(record, field) for field in _TEXTS},
    }


@dataclass(frozen=True, slots=True)
class Verified:
    """What verifying has found: how many records, the newest one's checkpoint, and all that is wrong, in
    words."""

    count: int
    head: Checkpoint
    problems: Sequence[str]


async def verify(database: Database, noted: Sequence[Checkpoint] = ()) -> Verified:
    """Reads the whole log, in one view of it, while it is written on."""
    async with database.read() as opened:
        store = AuditStore(opened.connection)
        beginning, head = await store.find_beginning() or BEGINNING, await store.find_head()
        assert head is not None, "provisioning makes it"
        check, problems = ChainCheck(beginning, noted), list[str]()
        after = 0
        while records := await store.read_chain(after=after, limit=_VERIFIED_AT_ONCE):
            problems += check.problems(records)
            after = records[-1].position
        problems += check.end(head)
    left_out = len(problems) - _MOST_PROBLEMS
    if left_out > 0:
        problems[_MOST_PROBLEMS:] = [f"and {left_out} more"]
    return Verified(check.count, head, problems)


async def keep_checkpoints_logged(database: Database) -> None:
    """For ever, hourly: the newest record's checkpoint goes into the process' log, which leaves the machine.
    Whoever rewrites the whole database can't rewrite that."""
    await run_forever("audit checkpoints", partial(log_checkpoint, database), _CHECKPOINT_EVERY_S)


async def log_checkpoint(database: Database) -> None:
    async with database.read() as opened:
        head = await AuditStore(opened.connection).find_head()
    log.info("audit checkpoint", extra={"checkpoint": str(head)})


async def purge(database: Database, now: datetime, kept: timedelta) -> None:
    """Deletes what was stored longer ago than `kept`; each batch tells of itself in the log. Raises
    asyncpg.InsufficientPrivilegeError for less than the log's owner allows."""
    purged = _PURGED_AT_ONCE
    while purged == _PURGED_AT_ONCE:
        async with database.change_by_system("audit.purge") as change:
            store = AuditStore(change.connection)
            purged = await store.purge_records(stored_before=now - kept, most=_PURGED_AT_ONCE)
            beginning = await store.find_beginning()
            if purged and beginning is not None:
                change.audit("audit_log", str(beginning.position), records=str(purged))
            else:
                change.nothing_to_audit()
