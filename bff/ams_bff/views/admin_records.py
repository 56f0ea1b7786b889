"""What admins' pages share: the audit log, and who an actor is."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common import formats

from ams_bff.http.api import pages
from ams_bff.http.visits import Visit
from ams_bff.ui.audit_words import is_news
from ams_bff.ui.formats import month
from ams_bff.views.naming import Known, Names, name_of, service_names

_NEWEST = 10
# As many as one request may ask for.
_MOST_IDS = 500
_NEWS = 8
# Among so many records news are looked for: everybody's visits stand in the log too.
_PAGE_SIZE = 100
_MOST_PAGES = 5
# What a record was done to, in words, and its page, "" for none.
Subject: TypeAlias = tuple[str, str]


async def audit_of(visit: Visit, resource_id: str) -> tuple[list[AuditRecord], Mapping[str, str]]:
    """The newest records about one thing, and the names of who is in them."""
    listed = await visit.api.identity.ListAuditRecords(page_size=_NEWEST, resource_id=resource_id)
    records = list(listed.audit_records)
    return records, await people_names(visit, records)


async def latest_news(visit: Visit) -> list[AuditRecord]:
    """The newest records but those that come with every visit."""

    async def ask(token: str) -> pb.ListAuditRecordsResponse:
        return await visit.api.identity.ListAuditRecords(page_size=_PAGE_SIZE, page_token=token)

    news: list[AuditRecord] = []
    async for listed in pages(ask, _MOST_PAGES):
        news += filter(is_news, listed.audit_records)
        if len(news) >= _NEWS:
            break
    return news[:_NEWS]


async def subjects_of(
    visit: Visit, records: Sequence[AuditRecord], names: Mapping[str, str]
) -> Mapping[str, Subject]:
    known = await service_names(visit, map(_service_id_of, records))
    return {record.audit_id: subject_of(record, known, names) for record in records}


def _service_id_of(record: AuditRecord) -> str:
    return record.resource_id if record.resource == "service" else record.details.get("service_id", "")


def subject_of(record: AuditRecord, known: Known | Names | None, names: Mapping[str, str]) -> Subject:
    """Of the people among `names`; others are called by their id."""
    details, resource_id = record.details, record.resource_id
    person = names.get(resource_id) or f"{resource_id[:8]}…"
    match record.resource:
        case "service" | "access_request":
            service_id = _service_id_of(record)
            is_there = known is not None and service_id in known
            return name_of(known, service_id), f"/admin/services/{service_id}" if is_there else ""
        case "merchant" | "consumer":
            return person, f"/admin/{record.resource}s/{resource_id}"
        case "user":
            return person, ""
        case "image":
            return f"{details.get('name', '').rpartition('/')[2]}:{details.get('tag', '')}".strip(":"), ""
        case "billing_period":
            return month(resource_id), ""
        case "commission_rate":
            return f"from {month(resource_id)}" if resource_id > "2001" else "", ""
        case "platform_settings":
            return f"version {resource_id}", "/admin/settings"
        case "dead_letter":
            keeper = details.get("keeper", "")
            return f"{details.get('topic', '')} in {keeper}-svc" if keeper else details.get("topic", ""), ""
        case "audit_log":
            return f"up to record {resource_id}", ""
        case _:
            message = details.get("email") or details.get("key_prefix") or details.get("token_prefix")
            return message or "", ""


async def people_names(visit: Visit, records: Iterable[AuditRecord]) -> Mapping[str, str]:
    """Addresses by id, of everybody in the records: who did it, whom it was done to, who is told of."""
    ids = sorted({person for record in records for person in _people_in(record)})
    parts = [ids[at : at + _MOST_IDS] for at in range(0, len(ids), _MOST_IDS)]
    answers = await asyncio.gather(*(visit.api.profiles.BatchGetUserNames(user_ids=part) for part in parts))
    names = {"": "somebody not signed in", "system": "AMS itself"}
    names |= {user.user_id: user.email for answer in answers for user in answer.users}
    if visit.session.person is not None:
        names[visit.session.person.user_id] = "you"
    return names


def _people_in(record: AuditRecord) -> Iterator[str]:
    about = record.resource_id if record.resource in ("user", "merchant", "consumer") else ""
    told_of = (record.details.get(name, "") for name in ("consumer_id", "merchant_id", "user_id"))
    return (text for text in (record.actor, about, *told_of) if formats.UUID.fullmatch(text))
