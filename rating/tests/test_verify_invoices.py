"""A real file verifies, and whatever is changed in it is named."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from ams_rating.charging import ChargeRule
from ams_rating.events import read_leaf, write_leaf
from ams_rating.invoice_check import Roots
from ams_rating.prices import Component, Meter, MonthlyFee, PerUnit, Price
from ams_rating.testing import (
    CONSUMER,
    GEO_NEW,
    GEO_OLD,
    LAST,
    MAPS,
    MAPS_PRICE,
    OTHER,
    File,
    file_of,
    used,
    with_item,
)
from ams_rating.verify import NoProofError, Verification
from hypothesis import given, settings
from hypothesis import strategies as st

FILE = file_of(used())


def differences(file: File, published: Roots | None = None) -> list[str]:
    return [str(each) for each in Verification(file.rows(), published).differences()]


def test_a_real_file_agrees_with_itself() -> None:
    assert differences(FILE) == []
    assert differences(FILE, FILE.published()) == []
    assert len(FILE.lines) == 7 and len({root.edition for root in FILE.roots}) == 2
    assert any(read_leaf(event.leaf.encode()).is_test for event in FILE.events)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 120), st.integers(0, 2**32))
def test_any_month_of_calls_agrees_with_its_invoice(count: int, seed: int) -> None:
    assert differences(file_of(used(count, seed))) == []


def test_what_was_billed_before_is_taken_off() -> None:
    file = file_of(used(), billed_before=Decimal("0.5"))
    assert differences(file) == []
    verification = Verification(file.rows())
    list(verification.differences())
    assert any(line.startswith("Line 1 takes off EUR 0.50,") for line in verification.summary())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_event_is_named(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(FILE.events) - 1))
    event = read_leaf(FILE.events[index].leaf.encode())
    change: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"response_bytes": event.response_bytes + 1},
                {"request_bytes": event.request_bytes + 1},
                {"api_key": "key_zzzzzzzzzzzzzzzz"},
                {"is_test": not event.is_test},
                {"is_continuation": not event.is_continuation},
                {"status_code": event.status_code + 1},
                {"offset": event.offset - 1},
                {"occurred_at": event.occurred_at + timedelta(microseconds=1)},
            ]
        )
    )
    leaf = write_leaf(replace(event, **change)).decode()
    found = differences(replace(FILE, events=with_item(FILE.events, index, leaf=leaf)))
    assert any(each.startswith(f"event {event.event_id} of ") and "isn't at place" in each for each in found)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_line_is_named(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(FILE.lines) - 1))
    name = data.draw(st.sampled_from(["quantity", "rated_amount", "billed_before", "amount"]))
    more = Decimal(data.draw(st.integers(1, 10**6))).scaleb(-2)
    changed = replace(FILE.lines[index], **{name: getattr(FILE.lines[index], name) + more})
    found = differences(replace(FILE, lines=(*FILE.lines[:index], changed, *FILE.lines[index + 1 :])))
    assert any(each.startswith(f"line {index + 1}: ") for each in found)
    others = [each for each in found if not each.startswith(f"line {index + 1}: ")]
    assert others == [] or (name == "amount" and [each.split(":")[0] for each in others] == ["invoice"])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_changed_root_is_named_with_its_events(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(FILE.roots) - 1))
    bit = data.draw(st.integers(0, 255))
    root = FILE.roots[index]
    value = (int.from_bytes(root.root) ^ (1 << bit)).to_bytes(32)
    changed = replace(FILE, roots=with_item(FILE.roots, index, root=value))
    (of_root,) = [each for each in differences(changed, FILE.published()) if each.startswith("root ")]
    assert of_root.startswith(
        f"root of {root.day}, edition {root.edition}: was published as {root.root.hex()}"
    )
    mine = {
        str(event.event_id)
        for proven in FILE.events
        if (event := read_leaf(proven.leaf.encode())).day == root.day and proven.edition == root.edition
    }
    assert {each.split()[1] for each in differences(changed) if each.startswith("event ")} == mine


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_changed_path_is_named(data: st.DataObject) -> None:
    index = data.draw(st.sampled_from([number for number, event in enumerate(FILE.events) if event.path]))
    event = FILE.events[index]
    path = data.draw(
        st.sampled_from([event.path[1:], (*event.path, bytes(32)), (bytes(32), *event.path[1:])])
    )
    found = differences(replace(FILE, events=with_item(FILE.events, index, path=path)))
    assert any(str(read_leaf(event.leaf.encode()).event_id) in each for each in found)


@pytest.mark.parametrize(
    ("version", "price", "lines"),
    [
        (
            0,
            replace(
                GEO_OLD,
                components=(Component(Meter.REQUESTS, PerUnit(Decimal("0.03"))), GEO_OLD.components[1]),
            ),
            {1},
        ),
        (
            0,
            replace(GEO_OLD, components=(GEO_OLD.components[0], Component(None, MonthlyFee(Decimal(6))))),
            {2},
        ),
        (0, replace(GEO_OLD, charge_rule=ChargeRule(is_abandoned_free=True)), {1}),
        (0, replace(GEO_OLD, currency="USD"), {1, 2}),
        (1, replace(GEO_NEW, charge_rule=ChargeRule()), {3, 4}),
        (1, replace(GEO_NEW, components=()), {3, 4, 5}),
        (
            2,
            replace(MAPS_PRICE, components=(Component(Meter.RESPONSE_MEGABYTES, PerUnit(Decimal("0.005"))),)),
            {6},
        ),
    ],
)
def test_a_changed_price_is_named_by_its_lines(version: int, price: Price, lines: set[int]) -> None:
    found = differences(replace(FILE, price_versions=with_item(FILE.price_versions, version, price=price)))
    assert {each.split(":")[0] for each in found} == {f"line {number}" for number in lines}


def test_a_line_of_nothing_takes_back_what_a_replaced_price_had_billed() -> None:
    """The version was known late: what had been billed by the one before is rated anew by it."""
    back = replace(
        FILE.lines[0],
        position=8,
        price_version_id=UUID(int=0xC2),
        month="2026-10",
        first_day=date(2026, 10, 6),
        last_day=date(2026, 10, 31),
        quantity=Decimal(0),
        rated_amount=Decimal(0),
        billed_before=Decimal(2),
        amount=Decimal(-2),
    )
    invoice = replace(FILE.invoice, subtotal=FILE.invoice.subtotal - 2)
    assert differences(replace(FILE, invoice=invoice, lines=(*FILE.lines, back))) == []


def test_a_price_that_starts_on_another_day_is_named() -> None:
    moved = with_item(FILE.price_versions, 1, starts_on=date(2026, 11, 10))
    found = differences(replace(FILE, price_versions=moved))
    assert "line 1: another price version is in force on 2026-11-15" in found


def test_a_price_that_can_not_be_billed_is_named() -> None:
    bad = replace(MAPS_PRICE, components=(Component(Meter.REQUESTS, PerUnit(Decimal(-1))),))
    found = differences(replace(FILE, price_versions=with_item(FILE.price_versions, 2, price=bad)))
    assert any("components[0].per_unit.amount must be from 0" in each for each in found)


def test_a_changed_subtotal_is_named() -> None:
    found = differences(replace(FILE, invoice=replace(FILE.invoice, subtotal=FILE.invoice.subtotal + 1)))
    assert [each.split(":")[0] for each in found] == ["invoice"]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_an_event_that_is_left_out_is_missed(data: st.DataObject) -> None:
    counted = [number for number, each in enumerate(FILE.events) if "|live|" in each.leaf]
    index = data.draw(st.sampled_from(counted))
    event = read_leaf(FILE.events[index].leaf.encode())
    (found,) = differences(replace(FILE, events=(*FILE.events[:index], *FILE.events[index + 1 :])))
    assert found.startswith(f"usage of {event.day}, service {event.service_id}, {event.charge_class.value}: ")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_an_event_that_stands_twice_is_named_and_counts_once(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(FILE.events) - 1))
    event = FILE.events[index]
    twice = (*FILE.events[: index + 1], event, *FILE.events[index + 1 :])
    (found,) = differences(replace(FILE, events=twice))
    assert found.startswith(f"event {read_leaf(event.leaf.encode()).event_id} ") and "twice" in found


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_changed_usage_is_named(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(FILE.usage) - 1))
    name = data.draw(st.sampled_from(["requests", "request_bytes", "response_bytes"]))
    usage = FILE.usage[index]
    changed = with_item(FILE.usage, index, **{name: getattr(usage, name) + 1})
    found = differences(replace(FILE, usage=changed))
    assert any(each.startswith(f"usage of {usage.day}, service {usage.service_id}") for each in found)


def test_an_event_of_a_day_that_is_still_open_is_named() -> None:
    found = differences(replace(FILE, events=with_item(FILE.events, 3, edition=0)))
    assert any("its day isn't closed" in each for each in found)


def test_a_missing_root_is_named() -> None:
    found = differences(replace(FILE, roots=FILE.roots[1:]))
    assert any("the file has no root of its day's edition" in each for each in found)


def test_a_root_that_was_never_published_is_named() -> None:
    published = dict(FILE.published())
    root = FILE.roots[4]
    del published[root.merchant_id, root.day, root.edition]
    assert differences(FILE, published) == [
        f"root of {root.day}, edition {root.edition}: isn't among the published roots"
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: replace(f, invoice=replace(f.invoice, consumer=OTHER)), f"it is of consumer {CONSUMER}"),
        (lambda f: replace(f, invoice=replace(f.invoice, merchant_id=UUID(int=9))), "it is of merchant"),
        (lambda f: replace(f, invoice=replace(f.invoice, merchant_id=UUID(int=9))), "is of another merchant"),
        (
            lambda f: replace(f, invoice=replace(f.invoice, last_day=date(2026, 11, 20))),
            "it is after 2026-11-20",
        ),
        (lambda f: replace(f, invoice=replace(f.invoice, currency="USD")), "in EUR, the invoice in USD"),
        (lambda f: replace(f, usage=f.usage[1:]), "the invoice counts nothing of its service"),
        (
            lambda f: replace(f, usage=with_item(f.usage, 0, last_offsets={"topic/0": 1, "topic/1": 1})),
            "the invoice counts up to 1",
        ),
        (
            lambda f: replace(f, usage=with_item(f.usage, 0, last_offsets={"b3RoZXI/0": 2**40})),
            "of which the invoice counts nothing",
        ),
        (lambda f: replace(f, usage=(*f.usage, f.usage[0])), "is a second row of it"),
        (lambda f: replace(f, lines=(*f.lines, replace(f.lines[0], position=8))), "line 8: is a second line"),
        (lambda f: replace(f, lines=with_item(f.lines, 1, position=1)), "line 1: is a second line"),
        (lambda f: replace(f, lines=with_item(f.lines, 0, component=7)), "has no component 7"),
        (lambda f: replace(f, lines=with_item(f.lines, 0, service_id=MAPS)), "the file has no price version"),
        (lambda f: replace(f, lines=with_item(f.lines, 0, month="2026-10")), "are no days of 2026-10"),
        (
            lambda f: replace(f, lines=with_item(f.lines, 0, last_day=LAST)),
            "another price version is in force",
        ),
        (
            lambda f: replace(f, price_versions=(*f.price_versions, f.price_versions[0])),
            "is a second price version",
        ),
        (lambda f: replace(f, price_versions=f.price_versions[:2]), "the file has no price of its service"),
        (lambda f: replace(f, roots=(*f.roots, f.roots[0])), "is a second root of this edition"),
        (lambda f: replace(f, roots=with_item(f.roots, 0, root=b"short")), "is no root"),
    ],
)
def test_what_does_not_belong_together_is_named(change: Callable[[File], File], expected: str) -> None:
    assert any(expected in each for each in differences(change(FILE)))


def test_a_row_that_can_not_be_read_is_named_and_the_others_are_checked() -> None:
    rows = FILE.rows()
    rows[3] = rows[3].replace(b'"component":', b'"component":-')
    rows.insert(60, b'{"record":"secret"}\n')
    rows.append(b'{"record":"event","le')
    found = [str(each) for each in Verification(rows).differences()]
    assert found[0].startswith("row 4 of the file: its component isn't an integer")
    assert any(each.startswith(f"row {len(rows)} of the file: it isn't JSON") for each in found)
    assert any(each.startswith("row 61 of the file: it is no record") for each in found)


def test_a_leaf_that_is_no_event_is_named_by_its_row() -> None:
    found = differences(replace(FILE, events=with_item(FILE.events, 0, leaf="ams-usage-event/9|x")))
    first_event = len(FILE.rows()) - len(FILE.events) + 1
    assert found[0] == f"row {first_event} of the file: not a leaf of ams-usage-event/1"


@pytest.mark.parametrize(
    "rows",
    [[], [b"\n"], [b'{"format":"ams-invoice-proof/2"}\n'], FILE.rows()[:1], FILE.rows()[1:], [b"[" * 99_999]],
)
def test_another_file_is_no_proof(rows: list[bytes]) -> None:
    with pytest.raises(NoProofError):
        Verification(rows)


def test_memory_does_not_grow_with_the_events() -> None:
    """Rows come from a generator, and none is kept."""
    kept = 0

    class Row(bytes):
        def __new__(cls, value: bytes) -> "Row":
            nonlocal kept
            kept += 1
            return super().__new__(cls, value)

        def __del__(self) -> None:
            nonlocal kept
            kept -= 1

    greatest = 0
    rows = FILE.rows()
    head = len(rows) - len(FILE.events)

    def reading() -> Iterable[bytes]:
        nonlocal greatest
        yield from rows[:head]
        for row in rows[head:]:
            yield Row(row)
            greatest = max(greatest, kept)

    assert list(Verification(reading()).differences()) == []
    assert greatest <= 2


def test_the_example_of_the_documentation_agrees() -> None:
    page = (Path(__file__).parents[2] / "docs/proofs.md").read_bytes()
    rows = page.split(b"```json\n")[1].split(b"```")[0].splitlines(keepends=True)
    verification = Verification(rows)
    assert list(verification.differences()) == []
    assert verification.events == 2
