"""Finding things: pages, services, keys and, for admins, people. Each source is asked by itself and for
little, so one that is down spoils only its own part."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ams.catalog.v1.events_pb2 import ServiceStatus
from ams.identity.v1.events_pb2 import Standing
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1.events_pb2 import KeyStatus
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, ROLE_UNSPECIFIED, Role
from ams_common.errors import AppError, UnauthenticatedError
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui import navigation
from ams_bff.ui.formats import enum_label

PATH = "/search"
_MOST = 5
# Among so many that fit the words a consumer's own services are looked for.
_MOST_FITTING = 100
_MOST_GRANTS = 200


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found: where it is, and a word on what it is."""

    title: str
    note: str
    path: str
    icon: str


@dataclass(frozen=True, slots=True)
class Group:
    """What one source has found. `is_down`: it couldn't be asked."""

    title: str
    hits: Sequence[Hit] = ()
    is_down: bool = False


Find: TypeAlias = Callable[[Visit, str], Awaitable[list[Hit]]]

# What a page offers to do is found by its name, as the page is.
_ACTIONS: Mapping[Role.ValueType, Sequence[Hit]] = {
    CONSUMER: (
        Hit("New key", "", "/dashboard/api-keys/new", icon="plus"),
        Hit("Spend cap", "", "/dashboard/api-keys/spend-cap", icon="scale"),
    ),
    MERCHANT: (
        Hit("New service", "", "/merchant/services/new", icon="plus"),
        Hit("New push token", "", "/merchant/images#new-token", icon="key-round"),
    ),
    ADMIN: (
        Hit("Invite a merchant", "", "/admin/merchants#invite", icon="user-plus"),
        Hit("Audit log", "", "/admin/governance", icon="scroll-text"),
        Hit("Set commission", "", "/admin/settings", icon="percent"),
    ),
}
_PUBLIC_PAGES = (
    Hit("Marketplace", "", "/marketplace", "store"),
    Hit("Sign in", "", "/login", "log-in"),
    Hit("Register", "", "/register", "user-plus"),
)


async def show_results(visit: Visit) -> Response:
    return await _render_found(visit, "search/list.html")


async def show_palette(visit: Visit) -> Response:
    return await _render_found(visit, "search/palette.html")


async def _render_found(visit: Visit, template: str) -> Response:
    words, role = visit.url.words, _role_of(visit)
    groups = [Group("Pages", _pages(role, words))]
    if words:
        sources = _SOURCES[role].items()
        groups += await asyncio.gather(*(_ask(visit, words, title, find) for title, find in sources))
    shown = [group for group in groups if group.hits]
    down = [group.title for group in groups if group.is_down]
    return await visit.render(template, words=words, groups=shown, down=down)


async def _ask(visit: Visit, words: str, title: str, find: Find) -> Group:
    try:
        return Group(title, await find(visit, words))
    except UnauthenticatedError:
        raise  # the session has ended: nothing will be found before signing in
    except AppError:
        return Group(title, is_down=True)


def _role_of(visit: Visit) -> Role.ValueType:
    """The role of the page that the search was opened on, which the URL names, else the active one."""
    held = visit.session.person.roles if visit.session.person is not None else ()
    named = {label.lower(): role for role, label in navigation.ROLE_LABELS.items()}
    role = named.get(visit.query.get("as", ""), visit.role)
    return role if role in held and role in _SOURCES else ROLE_UNSPECIFIED


def _pages(role: Role.ValueType, words: str) -> list[Hit]:
    entries = [Hit(entry.label, "", entry.path, entry.icon) for entry in navigation.entries_of(role)]
    hits = [*entries, *_ACTIONS.get(role, ())] or _PUBLIC_PAGES
    wanted = words.casefold().split()
    return [hit for hit in hits if all(word in hit.title.casefold() for word in wanted)]


def _words_of(value: int, enum: Any) -> str:
    return enum_label(value, enum).lower()


async def _marketplace(visit: Visit, words: str) -> list[Hit]:
    listed = await visit.api.catalog.ListMarketplaceServices(page_size=_MOST, query=words)
    return [
        Hit(each.name, each.merchant_name, f"/marketplace/{each.slug}", "store") for each in listed.services
    ]


async def _granted(visit: Visit, words: str) -> list[Hit]:
    """Those that the consumer may call; other than in the marketplace, with its keys and usage."""
    listed, asked = await asyncio.gather(
        visit.api.catalog.ListMarketplaceServices(page_size=_MOST_FITTING, query=words),
        visit.api.keys.ListConsumerAccessRequests(page_size=_MOST_GRANTS, status=keys_pb.APPROVED),
    )
    granted = {each.service_id for each in asked.access_requests}
    mine = [each for each in listed.services if each.service_id in granted][:_MOST]
    return [
        Hit(each.name, each.merchant_name, f"/dashboard/services/{each.service_id}", "boxes") for each in mine
    ]


async def _keys(visit: Visit, words: str) -> list[Hit]:
    listed = await visit.api.keys.ListKeys(page_size=_MOST, query=words)
    notes = {key.key_id: f"{key.key_prefix}…, {_words_of(key.status, KeyStatus)}" for key in listed.keys}
    return [
        Hit(key.name, notes[key.key_id], f"/dashboard/api-keys/{key.key_id}", "key-round")
        for key in listed.keys
    ]


async def _own_services(visit: Visit, words: str) -> list[Hit]:
    listed = await visit.api.catalog.ListMerchantServices(page_size=_MOST, query=words)
    return [
        Hit(
            each.name,
            enum_label(each.status, ServiceStatus),
            f"/merchant/services/{each.service_id}",
            "boxes",
        )
        for each in listed.services
    ]


async def _all_services(visit: Visit, words: str) -> list[Hit]:
    listed = await visit.api.catalog.ListServices(page_size=_MOST, query=words)
    return [
        Hit(
            each.name,
            f"{each.merchant_name}, {_words_of(each.status, ServiceStatus)}",
            f"/admin/services/{each.service_id}",
            "boxes",
        )
        for each in listed.services
    ]


async def _merchants(visit: Visit, words: str) -> list[Hit]:
    listed = await visit.api.identity.ListMerchants(page_size=_MOST, query=words)
    return [
        Hit(
            each.company_name,
            f"{each.email}, {_words_of(each.standing, Standing)}",
            f"/admin/merchants/{each.merchant_id}",
            "building-2",
        )
        for each in listed.merchants
    ]


async def _consumers(visit: Visit, words: str) -> list[Hit]:
    listed = await visit.api.identity.ListConsumers(page_size=_MOST, query=words)
    return [
        Hit(
            each.email,
            f"{each.name}, {_words_of(each.standing, Standing)}",
            f"/admin/consumers/{each.consumer_id}",
            "users",
        )
        for each in listed.consumers
    ]


_SOURCES: Mapping[Role.ValueType, Mapping[str, Find]] = {
    ROLE_UNSPECIFIED: {"Marketplace": _marketplace},
    CONSUMER: {"Your services": _granted, "API keys": _keys, "Marketplace": _marketplace},
    MERCHANT: {"Your services": _own_services, "Marketplace": _marketplace},
    ADMIN: {"Services": _all_services, "Merchants": _merchants, "Consumers": _consumers},
}

VIEWS = (
    page(PATH, show_results),
    page(f"{PATH}/palette", show_palette),
)
