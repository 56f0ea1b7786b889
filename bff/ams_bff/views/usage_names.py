"""What pages of usage call services, keys, consumers and merchants, and what they can be narrowed to.

Each kind of name is one call, however many of them a page shows.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role

from ams_bff.http.visits import Visit
from ams_bff.usage.figures import REST
from ams_bff.usage.ranges import STATUS_CLASSES
from ams_bff.views.consumer_lists import all_keys, all_requests, newest_by_service
from ams_bff.views.naming import name_of, service_names
from ams_bff.views.project_names import project_choices, project_names

Labels: TypeAlias = Mapping[str, str]
Choice: TypeAlias = tuple[str, str]

STATUS_LABELS = {
    "1xx": "1xx Informational",
    "2xx": "2xx Success",
    "3xx": "3xx Redirect",
    "4xx": "4xx Refused",
    "5xx": "5xx Failed",
}
STATUS_TONES = {"1xx": "plain", "2xx": "good", "3xx": "info", "4xx": "warn", "5xx": "bad"}
_MOST_CHOICES = 200
# As many as one request may ask for.
_MOST_IDS = 500


async def labels_of(visit: Visit, kind: str, names: Iterable[str]) -> Labels:
    """What to call groups, or what is filtered by, of one kind ("service", "key", …), by their names in a
    report. What isn't known is called by its end."""
    shown = {name for name in names if name and name != REST}
    wanted = sorted(name for name in shown if (kind, name) not in visit.names)
    found: Labels = {}
    match kind:
        case "service" if wanted:
            known = await service_names(visit, wanted)
            found = {name: name_of(known, name) for name in wanted}
        case "key" if visit.role == CONSUMER and wanted:
            found = await visit.or_none_if_down(_own_keys(visit)) or {}
        case "project" if visit.role == CONSUMER and wanted:
            found = await visit.or_none_if_down(project_names(visit)) or {}
        case "consumer" if visit.role == ADMIN and wanted:
            found = await visit.or_none_if_down(_consumers(visit, wanted)) or {}
        case "merchant" if visit.role == ADMIN and wanted:
            found = await visit.or_none_if_down(_merchants(visit, wanted)) or {}
        case "merchant" if visit.role == CONSUMER and wanted:
            found = await visit.or_none_if_down(_merchants_of_services(visit)) or {}
        case "status":
            found = STATUS_LABELS
    visit.names |= {(kind, name): found.get(name) or _short(visit.role, kind, name) for name in wanted}
    return {"": f"No {kind}", REST: "All others"} | {name: visit.names[kind, name] for name in shown}


def _short(role: Role.ValueType, kind: str, name: str) -> str:
    """A merchant's forms of keys and consumers are names already."""
    is_name = role == MERCHANT and kind in ("key", "consumer")
    return name if is_name or len(name) < 20 else f"{kind.capitalize()} …{name[-6:]}"


async def filters_in_words(visit: Visit, filters: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Each filter of the URL: its parameter, what it filters, and by what."""
    labels = await asyncio.gather(*(labels_of(visit, kind, [text]) for kind, text in filters.items()))
    return [
        (kind, kind.capitalize(), words[text])
        for (kind, text), words in zip(filters.items(), labels, strict=True)
    ]


async def _own_keys(visit: Visit) -> Labels:
    return {key.key_id: f"{key.name} · {key.key_prefix}…" for key in await all_keys(visit)}


async def _consumers(visit: Visit, ids: Sequence[str]) -> Labels:
    parts = _parts(ids)
    answers = await asyncio.gather(*(visit.api.profiles.BatchGetUserNames(user_ids=part) for part in parts))
    return {user.user_id: user.email for answer in answers for user in answer.users}


async def _merchants(visit: Visit, ids: Sequence[str]) -> Labels:
    ask = visit.api.profiles.BatchGetMerchantNames
    answers = await asyncio.gather(*(ask(merchant_ids=part) for part in _parts(ids)))
    return {each.merchant_id: each.company_name for answer in answers for each in answer.merchants}


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + _MOST_IDS] for at in range(0, len(ids), _MOST_IDS)]


async def _merchants_of_services(visit: Visit) -> Labels:
    """The companies whose services a consumer has asked for."""
    asked = {each.service_id for each in await all_requests(visit)}
    known = await service_names(visit, asked) or {}
    return {each.merchant_id: each.merchant_name for each in known.values() if each.merchant_name}


async def choices_of(visit: Visit, filters: Mapping[str, str]) -> Mapping[str, list[Choice]]:
    """What the page's selects offer, by the URL's parameter: "" for all, and what is chosen in any case."""
    services, keys, projects = await asyncio.gather(
        visit.or_none_if_down(service_choices(visit)),
        visit.or_none_if_down(key_choices(visit)),
        project_choices(visit),
    )
    choices: dict[str, list[Choice]] = {"service": [("", "All services"), *(services or [])]}
    if visit.role == CONSUMER:
        choices["key"] = [("", "All keys"), *(keys or [])]
        if projects:
            choices["project"] = [("", "All that you pay for"), *projects]
    choices["status"] = [("", "Any status"), *((name, STATUS_LABELS[name]) for name in STATUS_CLASSES)]
    for kind, offered in choices.items():
        chosen = filters.get(kind, "")
        if chosen not in (value for value, _ in offered):
            offered.append((chosen, (await labels_of(visit, kind, [chosen]))[chosen]))
    return choices


async def service_choices(visit: Visit) -> list[Choice]:
    """Ids and names of the reader's services, by name; of many the newest."""
    match visit.role:
        case Role.MERCHANT:
            listed = await visit.api.catalog.ListMerchantServices(page_size=_MOST_CHOICES)
            pairs = [(each.service_id, each.name) for each in listed.services]
        case Role.ADMIN:
            all_listed = await visit.api.catalog.ListServices(page_size=_MOST_CHOICES)
            pairs = [(each.service_id, each.name) for each in all_listed.services]
        case _:
            asked = [each.service_id for each in newest_by_service(await all_requests(visit))]
            known = await service_names(visit, asked[:_MOST_CHOICES])
            pairs = [(service_id, name_of(known, service_id)) for service_id in known or ()]
    return sorted(pairs, key=lambda pair: pair[1].casefold())


async def key_choices(visit: Visit) -> list[Choice]:
    """A consumer's keys; to nobody else's eyes keys have names."""
    if visit.role != CONSUMER:
        return []
    keys = await all_keys(visit)
    pairs = [(key.key_id, f"{key.name} · {key.key_prefix}…") for key in keys[:_MOST_CHOICES]]
    return sorted(pairs, key=lambda pair: pair[1].casefold())
