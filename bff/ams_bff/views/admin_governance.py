"""Who did what, when, from where, and what it changed (FR4-ADMIN-03)."""

import re
from collections.abc import Iterable

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common import formats
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.audit_words import KINDS, actions
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.views.admin_records import people_names, subjects_of

PATH = "/admin/governance"
_PAGE_SIZE = 25
_COLUMNS = (
    "occurred_at",
    "actor",
    "actor_address",
    "action",
    "resource",
    "resource_id",
    "subject",
    "details",
    "changes",
    "credential",
    "client_address",
    "request_id",
)
_TEXTS = {"actor": 100, "action": 64, "resource": 64, "resource_id": 64, "credential": 64}
_DAYS = ("first_day", "last_day")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


async def show_governance(visit: Visit) -> Response:
    """The audit log, filtered by the URL."""
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    names = await people_names(visit, listed.audit_records)
    return await visit.render(
        "admin/governance.html",
        wanted=_wanted(visit),
        records=listed.audit_records,
        next_token=listed.next_page_token,
        names=names,
        subjects=await subjects_of(visit, listed.audit_records, names),
        actions=actions(),
        kinds=KINDS,
    )


def _wanted(visit: Visit) -> dict[str, str]:
    """What the URL asks for; days that are none are left out, as nobody typed them into the form."""
    wanted = {
        name: _CONTROLS.sub("", visit.query.get(name, "")).strip()[:length] for name, length in _TEXTS.items()
    }
    days = {name: visit.query.get(name, "") for name in _DAYS}
    return wanted | {name: day if formats.DATE.fullmatch(day) else "" for name, day in days.items()}


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListAuditRecordsResponse:
    return await visit.api.identity.ListAuditRecords(page_size=size, page_token=page_token, **_wanted(visit))


async def _rows(visit: Visit, listed: pb.ListAuditRecordsResponse) -> list[Cells]:
    names = await people_names(visit, listed.audit_records)
    subjects = await subjects_of(visit, listed.audit_records, names)
    return [
        [
            *cells(record, "occurred_at", "actor"),
            names.get(record.actor, "") if formats.UUID.fullmatch(record.actor) else "",
            *cells(record, "action", "resource", "resource_id"),
            subjects[record.audit_id][0],
            "; ".join(f"{name}={text}" for name, text in sorted(record.details.items())),
            "; ".join(_changes(record)),
            *cells(record, "credential", "client_address", "request_id"),
        ]
        for record in listed.audit_records
    ]


def _changes(record: AuditRecord) -> Iterable[str]:
    return (f"{change.field}: {change.before} → {change.after}" for change in record.changes)


VIEWS = (
    page(PATH, show_governance, ADMIN),
    list_download(PATH, "audit-log", _COLUMNS, _ask, _rows, ADMIN),
)
