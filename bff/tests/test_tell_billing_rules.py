"""The guide on billing says what invoices do."""

from pathlib import Path
from typing import Any

from ams_bff.ui.billing_examples import endings, examples

PAGE = (Path(__file__).parents[2] / "docs/billing.md").read_text()


def rows(headings: str) -> list[list[str]]:
    """The rows of the first table of docs/billing.md whose headings begin so."""
    _, found = PAGE.split(f"\n| {headings} |", 1)
    lines = found.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def test_each_example_stands_in_the_repositorys_page_which_is_recomputed_too() -> None:
    words = dict(rows("price | in words"))
    known = {(words[name], used, amount) for name, used, _, amount, _ in rows("price | used in a month")}
    shown = [(each.price, each.used, each.amount) for each in examples()]
    assert len(shown) == len(set(shown)) >= 15
    assert [each for each in shown if each not in known] == []


def test_how_calls_end_and_what_is_charged_is_the_repositorys_table() -> None:
    table = PAGE.split("## What isn't charged")[1].split("## Rounding")[0]
    charged = [line.strip("|").split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert [each.charged[:13].casefold() for each in endings()] == [
        words[:13].casefold() for words in charged[1:]
    ]


def test_the_guide_is_open_to_everybody_and_linked(bff: Any) -> None:
    page = bff.ask("GET", "/docs/billing")
    assert page.status == 200
    assert "up to and with its own border" in page.text
    assert all(each.amount in page.text for each in examples())
    for path in ("/docs", "/docs/errors", "/docs/billing"):
        assert 'href="/docs/billing"' in bff.ask("GET", path).text
