"""What admins' pages share: the audit log, and who an actor is."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb

from ams_bff.http.api import pages
from ams_bff.http.visits import Visit
from ams_bff.ui.audit_words import is_news
from ams_bff.ui.formats import month
from ams_bff.views.naming import Known, Names, name_of, service_names

_NEWEST = 10
_MOST_PEOPLE = 200
_NEWS = 8
# Among so many records news are looked for: everybody's visits stand in the log too.
_PAGE_SIZE = 100
_MOST_PAGES = 5
# What a record was done to, in words, and its page, "" for none.
Subject: TypeAlias = tuple[str, str]


async def audit_of(visit: Visit, resource_id: str) -> list[AuditRecord]:
    return list(
        (await visit.api.identity.ListAuditRecords(page_size=_NEWEST, resource_id=resource_id)).audit_records
    )


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
        case _:
            message = details.get("email") or details.get("key_prefix") or details.get("token_prefix")
            return message or "", ""


async def actor_names(visit: Visit) -> Mapping[str, str]:
    """Addresses by user id, of the newest merchants and consumers and of the reader. Others stand by id."""
    merchants, consumers = await asyncio.gather(
        visit.api.identity.ListMerchants(page_size=_MOST_PEOPLE),
        visit.api.identity.ListConsumers(page_size=_MOST_PEOPLE),
    )
    return names_of(visit, merchants.merchants, consumers.consumers)


def names_of(
    visit: Visit, merchants: Iterable[pb.Merchant], consumers: Iterable[pb.Consumer]
) -> Mapping[str, str]:
    """As `actor_names`, of those that are known already."""
    names = {"": "somebody not signed in", "system": "AMS itself"}
    names |= {consumer.consumer_id: consumer.email for consumer in consumers}
    names |= {merchant.merchant_id: merchant.email for merchant in merchants}
    if visit.session.person is not None:
        names[visit.session.person.user_id] = "you"
    return names
