"""The marketplace's filters: what the URL says of them, and what could be chosen in place of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ams.catalog.v1 import discovery_service_pb2 as pb
from ams.catalog.v1.events_pb2 import API, DOCKER, SERVICE_TYPE_UNSPECIFIED
from ams.catalog.v1.pricing_pb2 import PRICE_MODEL_UNSPECIFIED, PriceModel

from ams_bff.http.visits import Visit

_TYPES = {"api": API, "docker": DOCKER}
_PRICE_MODELS = {name.lower(): value for name, value in PriceModel.items() if value}
# By its name in the URL: the filter's title, and where its figures stand.
_GROUPS = (
    ("type", "Type", "types"),
    ("category", "Category", "categories"),
    ("tag", "Tag", "tags"),
    ("price", "Price model", "price_models"),
    ("merchant", "Merchant", "merchants"),
    ("currency", "Currency", "currencies"),
)
# In the URL their names are in lower case.
_ENUMS = ("type", "price")


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter. `href`: this page with it, or without it where it is chosen."""

    value: str
    label: str
    count: int
    href: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Group:
    """One filter; `name` is its parameter in the URL."""

    name: str
    title: str
    choices: Sequence[Choice]


def filter_fields(visit: Visit) -> dict[str, Any]:
    """What the URL wants, as the requests' fields; what isn't a value of a filter is left out."""
    return {
        "query": visit.url.words,
        "type": _TYPES.get(visit.query.get("type", ""), SERVICE_TYPE_UNSPECIFIED),
        "tag": visit.query.get("tag", "")[:30],
        "category": visit.query.get("category", "")[:30],
        "price_model": _PRICE_MODELS.get(visit.query.get("price", ""), PRICE_MODEL_UNSPECIFIED),
        "merchant_id": _id(visit.query.get("merchant", "")),
        "currency_code": visit.query.get("currency", "")[:3],
    }


def groups_of(visit: Visit, facets: pb.MarketplaceFacets) -> list[Group]:
    """Those that have a choice, or a value that is chosen."""
    groups = (
        Group(name, title, [_choice(visit, name, each) for each in getattr(facets, field)])
        for name, title, field in _GROUPS
    )
    return [group for group in groups if group.choices]


def chosen_of(visit: Visit, groups: Iterable[Group]) -> list[Choice]:
    """The filters that are set, each with the link that takes it out."""
    labels = {(group.name, each.value): each.label for group in groups for each in group.choices}
    set_ones = ((name, visit.query.get(name, "")) for name, _, _ in _GROUPS)
    return [
        Choice(value, labels.get((name, value), value), 0, visit.url.having(page="", **{name: ""}), True)
        for name, value in set_ones
        if value
    ]


def _choice(visit: Visit, name: str, facet: pb.FacetValue) -> Choice:
    value = facet.value.lower() if name in _ENUMS else facet.value
    is_chosen = visit.query.get(name, "") == value
    href = visit.url.having(page="", **{name: "" if is_chosen else value})
    return Choice(value, facet.label, facet.count, href, is_chosen)


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""
