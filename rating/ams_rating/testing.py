"""Proof files for tests: a month of calls, and the invoice that is right for them."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ams_rating import proof
from ams_rating.charging import ChargeRule
from ams_rating.events import UsageEvent, write_leaf
from ams_rating.invoice_check import Roots
from ams_rating.merkle import audit_paths, leaf_hash, root_of
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier
from ams_rating.rate import Counts, RatedComponent, charged_counts, rate

MERCHANT, GEO, MAPS, TIPS = UUID(int=0xA), UUID(int=0xB1), UUID(int=0xB2), UUID(int=0xB3)
CONSUMER, OTHER = "cst_aaaaaaaaaaaaaaaa", "cst_bbbbbbbbbbbbbbbb"
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 30)
GEO_OLD = Price(
    "EUR", (Component(Meter.REQUESTS, PerUnit(Decimal("0.02"))), Component(None, MonthlyFee(Decimal(5))))
)
GEO_NEW = Price(
    "EUR",
    (
        Component(
            Meter.REQUESTS, Graduated((Tier(10, Decimal("0.03")), Tier(None, Decimal("0.015"), Decimal(1))))
        ),
        Component(Meter.MEGABYTES, PerUnit(Decimal("0.4"))),
        Component(None, MonthlyFee(Decimal(9))),
    ),
    ChargeRule(is_client_error_free=True),
)
MAPS_PRICE = Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal("0.005"))),))
VERSIONS = [
    proof.PriceVersion(UUID(int=0xC1), GEO, date(2026, 10, 5), GEO_OLD),
    proof.PriceVersion(UUID(int=0xC2), GEO, date(2026, 11, 16), GEO_NEW),
    proof.PriceVersion(UUID(int=0xC3), MAPS, date(2026, 10, 5), MAPS_PRICE),
    proof.PriceVersion(UUID(int=0xC4), TIPS, date(2026, 10, 5), Price("EUR")),
]


@dataclass(frozen=True)
class File:
    """A proof file by its records."""

    invoice: proof.Invoice
    lines: tuple[proof.Line, ...]
    price_versions: tuple[proof.PriceVersion, ...]
    usage: tuple[proof.Usage, ...]
    roots: tuple[proof.DayRoot, ...]
    events: tuple[proof.Event, ...]

    def rows(self) -> list[bytes]:
        head = proof.write_head(self.invoice, self.lines, self.price_versions, self.usage, self.roots)
        return [*head.splitlines(keepends=True), *map(proof.write, self.events)]

    def published(self) -> Roots:
        return {(root.merchant_id, root.day, root.edition): (root.events, root.root) for root in self.roots}


def used(count: int = 150, seed: int = 1) -> list[UsageEvent]:
    """A month of calls by two consumers, a few of them with test keys, failed, or parts of one that lasts."""
    chance = random.Random(seed)  # noqa: S311 # calls, not secrets
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    events = []
    for number in range(count):
        outcome = chance.choice(["answered"] * 6 + ["client_closed", "upstream_failed", "broken_off"])
        events.append(
            UsageEvent(
                event_id=UUID(int=(7 << 80) + number * 3),
                occurred_at=begin + timedelta(days=30) * (number / count),
                merchant_id=MERCHANT,
                consumer=CONSUMER if chance.random() < 0.7 else OTHER,
                api_key=f"key_{chance.choice('abc') * 16}",
                service_id=chance.choice([GEO, GEO, GEO, MAPS, MAPS, TIPS]),
                outcome=outcome,
                status_code=chance.choice([200, 200, 204, 404, 500]) if outcome == "answered" else 499,
                request_bytes=chance.randrange(2_000_000),
                response_bytes=chance.randrange(2_000_000),
                is_test=chance.random() < 0.05,
                is_continuation=chance.random() < 0.05,
                source=chance.choice(["topic/0", "topic/1"]),
                offset=1000 + number,
            )
        )
    return events


def file_of(events: Sequence[UsageEvent], billed_before: Decimal = Decimal(0)) -> File:
    """The file of the month's invoice. Every seventh event came late, to its day's second tree."""
    trees: defaultdict[tuple[date, int], list[UsageEvent]] = defaultdict(list)
    for number, event in enumerate(events):
        trees[event.day, 2 if number % 7 == 0 else 1].append(event)
    roots, proven = [], {}
    for (day, edition), members in sorted(trees.items()):
        hashes = [leaf_hash(write_leaf(event)) for event in members]
        roots.append(proof.DayRoot(MERCHANT, day, edition, len(hashes), root_of(hashes)))
        for index, (event, path) in enumerate(
            zip(members, audit_paths(hashes, range(len(hashes))), strict=True)
        ):
            proven[event.event_id] = proof.Event(write_leaf(event).decode(), edition, index, path)
    mine = sorted(
        (event for event in events if event.consumer == CONSUMER),
        key=lambda event: (str(event.service_id), event.event_id),
    )
    usage = usage_of(mine)
    lines = lines_of(usage, billed_before)
    subtotal = sum((line.amount for line in lines), Decimal(0))
    invoice = proof.Invoice(UUID(int=1), "INV-000042", MERCHANT, CONSUMER, FIRST, LAST, "EUR", subtotal)
    members_of = tuple(proven[event.event_id] for event in mine)
    return File(invoice, tuple(lines), tuple(VERSIONS), tuple(usage), tuple(roots), members_of)


def usage_of(events: Iterable[UsageEvent]) -> list[proof.Usage]:
    rows: dict[Any, proof.Usage] = {}
    for event in events:
        if event.is_test:
            continue
        key = (event.service_id, event.day, event.charge_class)
        row = rows.get(key, proof.Usage(*key, last_offsets={}, requests=0, request_bytes=0, response_bytes=0))
        last_offset = max(row.last_offsets.get(event.source, 0), event.offset)
        rows[key] = replace(
            row,
            last_offsets={**row.last_offsets, event.source: last_offset},
            requests=row.requests + (0 if event.is_continuation else 1),
            request_bytes=row.request_bytes + event.request_bytes,
            response_bytes=row.response_bytes + event.response_bytes,
        )
    return list(rows.values())


def lines_of(usage: Sequence[proof.Usage], billed_before: Decimal) -> list[proof.Line]:
    lines: list[proof.Line] = []
    feeless: set[UUID] = set()
    for version, first, last in zip(
        VERSIONS,
        (FIRST, date(2026, 11, 16), FIRST, FIRST),
        (date(2026, 11, 15), LAST, LAST, LAST),
        strict=True,
    ):
        charged = Counts()
        for row in usage:
            if row.service_id == version.service_id and first <= row.day <= last:
                counts = Counts(row.requests, row.request_bytes, row.response_bytes)
                charged = charged.plus(charged_counts(version.price, {row.charge_class: counts}))
        is_fee_due = version.service_id not in feeless
        if charged != Counts():
            feeless.add(version.service_id)
        free = RatedComponent(0, Meter.REQUESTS, Decimal(charged.requests), (), Decimal(0))
        for rated in rate(version.price, charged, is_fee_due=is_fee_due) or (free,):
            before = billed_before if not lines else Decimal(0)
            lines.append(
                proof.Line(
                    position=len(lines) + 1,
                    service_id=version.service_id,
                    price_version_id=version.price_version_id,
                    month="2026-11",
                    first_day=first,
                    last_day=last,
                    component=rated.component,
                    quantity=rated.quantity,
                    rated_amount=rated.amount,
                    billed_before=before,
                    amount=rated.amount - before,
                )
            )
    return lines


def with_item(items: tuple[Any, ...], index: int, **changes: Any) -> tuple[Any, ...]:
    """The items, of which one has changed."""
    return (*items[:index], replace(items[index], **changes), *items[index + 1 :])
