"""Heads that lists are sorted by, and what the URL asks the services for."""

from urllib.parse import parse_qs, urlsplit

import pytest
from ams_bff.ui.lists import PageUrl
from starlette.datastructures import QueryParams

COLUMNS = ["Services", ("Name", "", "name"), ("Registered", "num", "-registered_at")]


def url(query: str) -> PageUrl:
    return PageUrl("/list", QueryParams(query))


def query_of(href: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(href).query)


@pytest.mark.parametrize(
    ("sort", "asked"),
    [
        ("name", "name"),
        ("-name", "name desc"),
        ("", ""),
        ("--name", ""),
        ("-", ""),
        ("price", ""),
        ("name desc", ""),
        ("NAME", ""),
    ],
)
def test_only_what_a_list_can_be_sorted_by_is_asked_for(sort: str, asked: str) -> None:
    assert url(f"sort={sort}").order_by(("name", "registered_at")) == asked


def test_a_head_sorts_the_same_list_from_its_start() -> None:
    _, name, registered = url("q=a&standing=active&page=token").heads(COLUMNS, "-registered_at")
    assert query_of(name.href) == {"q": ["a"], "standing": ["active"], "sort": ["name"]}
    assert (name.direction, registered.direction) == ("", "descending")
    assert query_of(registered.href)["sort"] == ["registered_at"]


def test_the_head_that_is_sorted_by_turns_the_order_round() -> None:
    plain, name, registered = url("sort=name").heads(COLUMNS, "-registered_at")
    assert (plain.href, plain.direction) == ("", "")
    assert (name.direction, query_of(name.href)["sort"]) == ("ascending", ["-name"])
    assert (registered.direction, query_of(registered.href)["sort"]) == ("", ["-registered_at"])


def test_an_order_that_there_is_not_changes_nothing() -> None:
    assert url("sort=evil").heads(COLUMNS, "-registered_at")[2].direction == "descending"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("%20a%20%20b%20", "a b"),
        ("a%00b%0a", "a b"),
        ("x" * 300, "x" * 100),
        ("%20", ""),
        ("caf%C3%A9", "café"),
    ],
    ids=["spaces", "controls", "long", "blank", "accent"],
)
def test_words_are_what_the_contracts_take(typed: str, words: str) -> None:
    assert url(f"q={typed}").words == words
