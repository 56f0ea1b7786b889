"""An invoice recomputed from the prices and usage that its proof file states. Events are event_check's."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from ams_rating.charging import ChargeClass
from ams_rating.merkle import HASH_BYTES
from ams_rating.price_json import format_amount
from ams_rating.price_words import money
from ams_rating.prices import Meter, problems_of
from ams_rating.proof import DayRoot, Invoice, Line, PriceVersion, Record, Usage
from ams_rating.rate import Counts, RatedComponent, charged_counts, exact_arithmetic, rate
from ams_rating.root_digest import root_digest

# Merchant, day and edition: events and root.
Roots = Mapping[tuple[UUID, date, int], tuple[int, bytes]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Difference:
    """What doesn't agree: which event, line, price, …, and how."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(slots=True)
class Head:
    """A proof file without its events. Grows with the services and days of its invoice."""

    invoice: Invoice
    lines: list[Line] = field(default_factory=list)
    price_versions: list[PriceVersion] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    roots: list[DayRoot] = field(default_factory=list)

    def add(self, record: Record) -> None:
        match record:
            case Line():
                self.lines.append(record)
            case PriceVersion():
                self.price_versions.append(record)
            case Usage():
                self.usage.append(record)
            case DayRoot():
                self.roots.append(record)
            case _:
                raise ValueError("a file has one invoice, and events stand last")


def differences_in(head: Head, published: Roots | None, digest: bytes | None = None) -> Iterator[Difference]:
    """All that doesn't agree in the head by itself. `published` are roots, and `digest` is that of the
    invoice's, which the reader has from elsewhere."""
    yield from _root_differences(head, published)
    if digest is not None and (found := root_digest(head.roots)) != digest:
        yield Difference("roots", f"their digest is {found.hex()}, but the invoice says {digest.hex()}")
    yield from _price_differences(head)
    yield from _usage_differences(head)
    prices = _Prices(head)
    yield from _repeated("line", ((line.position, f"line {line.position}") for line in head.lines))
    yield from _repeated(
        "line",
        (
            ((line.price_version_id, line.month, line.component), f"line {line.position}")
            for line in head.lines
        ),
    )
    for line in head.lines:
        yield from (Difference(f"line {line.position}", what) for what in _line_problems(head, line, prices))
    with exact_arithmetic():
        total = sum((line.amount for line in head.lines), Decimal(0))
    if total != head.invoice.subtotal:
        currency = head.invoice.currency
        stated, summed = money(head.invoice.subtotal, currency), money(total, currency)
        yield Difference("invoice", f"its subtotal is {stated}, but its lines add up to {summed}")


def usage_name(usage: Usage) -> str:
    """Which row of usage this is, for people."""
    return f"usage of {usage.day}, service {usage.service_id}, {usage.charge_class.value}"


class _Prices:
    """Which price is in force when, and what a month's usage comes to under it."""

    def __init__(self, head: Head) -> None:
        self.by_id = {version.price_version_id: version for version in head.price_versions}
        self._by_service: dict[UUID, list[PriceVersion]] = {}
        for version in sorted(head.price_versions, key=lambda each: each.starts_on):
            self._by_service.setdefault(version.service_id, []).append(version)
        self._usage: dict[tuple[UUID, str], dict[ChargeClass, Counts]] = {}
        for usage in head.usage:
            if (of_day := self.on(usage.service_id, usage.day)) is None:
                continue
            classes = self._usage.setdefault((of_day.price_version_id, month_of(usage.day)), {})
            counts = Counts(usage.requests, usage.request_bytes, usage.response_bytes)
            classes[usage.charge_class] = classes.get(usage.charge_class, Counts()).plus(counts)

    def on(self, service_id: UUID, day: date) -> PriceVersion | None:
        """The latest that has started by `day`; for days before the first, the first."""
        versions = self._by_service.get(service_id, [])
        started = [version for version in versions if version.starts_on <= day]
        return started[-1] if started else next(iter(versions), None)

    def rated(self, version: PriceVersion, month: str) -> tuple[RatedComponent, ...]:
        """By component, what the file's usage of the month comes to under this version."""
        charged = [
            each for each in self._by_service[version.service_id] if self._charged(each, month) != Counts()
        ]
        # The month's fee is due once, by the first of its versions with anything charged.
        is_fee_due = version in charged[:1]
        counts = self._charged(version, month)
        # A free service has a line too: it says what was used.
        free = RatedComponent(0, Meter.REQUESTS, Decimal(counts.requests), (), Decimal(0))
        return rate(version.price, counts, is_fee_due=is_fee_due) or (free,)

    def _charged(self, version: PriceVersion, month: str) -> Counts:
        return charged_counts(version.price, self._usage.get((version.price_version_id, month), {}))


def month_of(day: date) -> str:
    """The UTC month, "2026-11"."""
    return day.isoformat()[:7]


def _line_problems(head: Head, line: Line, prices: _Prices) -> Iterator[str]:
    currency = head.invoice.currency
    with exact_arithmetic():
        amount_due = line.rated_amount - line.billed_before
    if line.amount != amount_due:
        yield (
            f"its amount is {money(line.amount, currency)}, but what is rated less what was billed before is "
            f"{money(amount_due, currency)}"
        )
    version = prices.by_id.get(line.price_version_id)
    if version is None and not line.quantity and not line.rated_amount:
        return  # it takes back what was billed by a version that another has replaced
    if version is None or version.service_id != line.service_id:
        yield f"the file has no price version {line.price_version_id} of service {line.service_id}"
        return
    if problems_of(version.price) or line.component >= max(1, len(version.price.components)):
        yield f"price version {line.price_version_id} has no component {line.component} that can be rated"
        return
    if version.price.currency != head.invoice.currency:
        yield f"its price is in {version.price.currency}, the invoice in {head.invoice.currency}"
    if {line.month} != {month_of(line.first_day), month_of(line.last_day)} or line.first_day > line.last_day:
        yield f"{line.first_day} to {line.last_day} are no days of {line.month}"
    # One of nothing takes back what was billed when a version had days that are another's now.
    for day in (line.first_day, line.last_day) if line.quantity else ():
        if prices.on(line.service_id, day) is not version:
            yield f"another price version is in force on {day}"
    rated = prices.rated(version, line.month)[line.component]
    if rated.quantity != line.quantity:
        stated, counted = format_amount(line.quantity), format_amount(rated.quantity)
        yield f"its quantity is {stated}, but the month's usage under its price version is {counted}"
    if rated.amount != line.rated_amount:
        quantity, amount = format_amount(rated.quantity), money(rated.amount, currency)
        yield f"its quantity is rated {money(line.rated_amount, currency)}, but {quantity} come to {amount}"


def _price_differences(head: Head) -> Iterator[Difference]:
    named = [(version, f"price version {version.price_version_id}") for version in head.price_versions]
    yield from _repeated("price version", ((version.price_version_id, where) for version, where in named))
    yield from _repeated(
        "version that starts on its day",
        ((((version.service_id, version.starts_on)), where) for version, where in named),
    )
    for version, where in named:
        for problem in problems_of(version.price):
            yield Difference(where, f"{problem.where} {problem.description}")


def _usage_differences(head: Head) -> Iterator[Difference]:
    services = {version.service_id for version in head.price_versions}
    keyed = (((each.service_id, each.day, each.charge_class), usage_name(each)) for each in head.usage)
    yield from _repeated("row of it", keyed)
    for usage in head.usage:
        if usage.service_id not in services:
            yield Difference(usage_name(usage), "the file has no price of its service")
        if usage.day > head.invoice.last_day:
            yield Difference(usage_name(usage), f"is after {head.invoice.last_day}, the invoice's last day")


def _root_differences(head: Head, published: Roots | None) -> Iterator[Difference]:
    keyed = [((root.merchant_id, root.day, root.edition), root) for root in head.roots]
    yield from _repeated("root of this edition", ((key, root_name(root)) for key, root in keyed))
    for key, root in keyed:
        if root.merchant_id != head.invoice.merchant_id:
            yield Difference(root_name(root), "is of another merchant than the invoice")
        if root.edition < 1 or len(root.root) != HASH_BYTES:
            yield Difference(root_name(root), "is no root: editions count from 1, and a hash has 32 bytes")
        if published is None:
            continue
        elsewhere = published.get(key)
        if elsewhere is None:
            yield Difference(root_name(root), "isn't among the published roots")
        elif elsewhere != (root.events, root.root):
            yield Difference(
                root_name(root),
                f"was published as {elsewhere[1].hex()} over {elsewhere[0]} events, "
                f"but the file says {root.root.hex()} over {root.events}",
            )


def root_name(root: DayRoot) -> str:
    """Which root this is, for people."""
    return f"root of {root.day}, edition {root.edition}"


def _repeated(what: str, keyed: Iterable[tuple[Hashable, str]]) -> Iterator[Difference]:
    seen = set()
    for key, where in keyed:
        if key in seen:
            yield Difference(where, f"is a second {what}")
        seen.add(key)
