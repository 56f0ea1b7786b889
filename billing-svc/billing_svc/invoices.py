"""What an invoice says: of what usage comes to, that which no invoice before has said. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import NamedTuple
from uuid import UUID

from ams_rating.rate import Counts

from billing_svc.commission import CommissionRate, commission_of, rate_for
from billing_svc.periods import month_of
from billing_svc.rating import ZERO, LineKey, Rated, RatedLine, no_longer_rated

# One for all sums: to enter a context of its own for each took more time than the sums of a monthly run.
_EXACT = Context(prec=80, traps=[InvalidOperation, Inexact])


@dataclass(frozen=True, slots=True)
class Billed:
    """What the invoices in force have billed of a key: `line` as the last of them rated it."""

    line: RatedLine
    amount: Decimal


class ServiceMonth(NamedTuple):
    """What is billed together or not at all."""

    service_id: UUID
    month: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice: `amount` = rated.rated_amount − billed_before."""

    rated: RatedLine
    billed_before: Decimal
    amount: Decimal
    is_adjustment: bool

    @property
    def unit(self) -> ServiceMonth:
        return ServiceMonth(self.rated.key.service_id, self.rated.key.month)


@dataclass(frozen=True, slots=True)
class InvoiceContent:
    """subtotal = the sum of the lines, and subtotal − commission = total, exactly; none is negative."""

    merchant_id: UUID
    consumer_id: UUID
    currency: str
    first_day: date
    last_day: date
    lines: tuple[Line, ...]
    subtotal: Decimal
    commission_rate: Decimal
    commission: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class Composed:
    """A consumer's invoices of a merchant, by currency; and the months that have more, for the next ones."""

    invoices: tuple[InvoiceContent, ...]
    withheld_months: frozenset[str]


@dataclass(frozen=True, slots=True)
class History:
    """What the invoices in force of one merchant and consumer have billed, by key of the open months, and
    through which day, by currency."""

    billed: Mapping[LineKey, Billed]
    billed_through: Mapping[str, date]


NO_HISTORY = History({}, {})


def compose(
    merchant_id: UUID,
    consumer_id: UUID,
    rated: Rated,
    history: History,
    commission_rates: Sequence[CommissionRate],
    last_day: date | None = None,
) -> Composed:
    """An invoice for each currency in which something is open, through `last_day` (None: through the last
    day of the usage, as a draft). `rated` holds all usage through that day of each month that is open.

    Raises LookupError when no commission holds for the month of the last day.
    """
    by_currency: defaultdict[str, list[Line]] = defaultdict(list)
    for line in open_lines(rated.lines, history.billed):
        by_currency[line.rated.currency].append(line)
    invoices, withheld = [], withheld_units(list(by_currency.values()))
    for currency, lines in sorted(by_currency.items()):
        kept = [line for line in lines if line.unit not in withheld]
        if kept:
            through = last_day or max(line.rated.last_day for line in kept)
            first_day = _first_day(kept, history.billed_through.get(currency), through)
            rate = rate_for(month_of(through), commission_rates)
            if rate is None:
                raise LookupError(f"no commission holds in {month_of(through)}")
            subtotal = sum_exactly(line.amount for line in kept)
            commission = commission_of(subtotal, rate, currency)
            invoices.append(
                InvoiceContent(
                    merchant_id=merchant_id,
                    consumer_id=consumer_id,
                    currency=currency,
                    first_day=first_day,
                    last_day=through,
                    lines=tuple(kept),
                    subtotal=subtotal,
                    commission_rate=rate,
                    commission=commission,
                    total=sum_exactly((subtotal, -commission)),
                )
            )
    return Composed(tuple(invoices), frozenset(unit.month for unit in withheld))


def open_lines(lines: Sequence[RatedLine], billed: Mapping[LineKey, Billed]) -> list[Line]:
    """The lines that say something which no invoice has said, in the order of `lines`."""
    groups: defaultdict[tuple[UUID, str, UUID], list[RatedLine]] = defaultdict(list)
    for line in lines:
        groups[line.key[:3]].append(line)
    billed_months = {key[:2] for key in billed}
    found: list[Line] = []
    for group in groups.values():
        made = [_line(line, billed.get(line.key), line.key[:2] in billed_months) for line in group]
        opened = [line for line in made if _says_something(line, billed.get(line.rated.key))]
        known = {known.line.counts for line in group if (known := billed.get(line.key)) is not None}
        if not opened and group[0].counts not in known:
            # Used and not counted by any component, or without effect on one: still used.
            opened = made[:1]
        found += opened
    rated_keys = {line.key for line in lines}
    for key, before in billed.items():
        # A price version that came late has taken over the usage.
        if key not in rated_keys and (before.amount or before.line.counts != Counts()):
            found.append(_line(no_longer_rated(before.line), before, True))
    return found


def withheld_units(by_currency: Sequence[Sequence[Line]]) -> set[ServiceMonth]:
    """What would make an invoice negative: it stays for the next. A service's month goes as a whole, in all
    currencies, so that nobody pays what its other lines take back."""
    withheld: set[ServiceMonth] = set()
    while True:
        # What one currency can't take back keeps from the others what they were to take it off.
        left = {
            unit
            for lines in by_currency
            for unit in _not_fitting([line for line in lines if line.unit not in withheld])
        }
        if not left:
            return withheld
        withheld |= left


def _not_fitting(lines: Sequence[Line]) -> set[ServiceMonth]:
    units: defaultdict[ServiceMonth, list[Line]] = defaultdict(list)
    for line in lines:
        units[line.unit].append(line)
    nets = {unit: sum_exactly(line.amount for line in members) for unit, members in units.items()}
    total = sum_exactly(net for net in nets.values() if net >= 0)
    left = set()
    for unit, net in sorted(nets.items(), key=lambda item: (item[0].month, item[0].service_id)):
        if net >= 0:
            continue
        if total + net >= 0:
            total = sum_exactly((total, net))
        else:
            left.add(unit)
    return left


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of `amounts`, in any order. Raises decimal.Inexact where digits would be lost."""
    total = ZERO
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def _line(rated: RatedLine, before: Billed | None, is_adjustment: bool) -> Line:
    billed_before = ZERO if before is None else before.amount
    return Line(rated, billed_before, sum_exactly((rated.rated_amount, -billed_before)), is_adjustment)


def _says_something(line: Line, before: Billed | None) -> bool:
    return bool(line.amount) or line.rated.quantity != (ZERO if before is None else before.line.quantity)


def _first_day(lines: Sequence[Line], billed_through: date | None, last_day: date) -> date:
    """The day after the last that was billed before; of late usage alone, the first of its days."""
    if billed_through is not None and billed_through < last_day:
        return billed_through + timedelta(days=1)
    return min(min(line.rated.first_day for line in lines), last_day)


@dataclass(frozen=True, slots=True)
class Credit:
    """The one line of a credit note."""

    description: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note, as the invoice that it corrects names it."""

    invoice_id: UUID
    number: str
    issued_at: datetime
    amount: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice or credit note as it is stored; `kind`, `status` are the database's words. `credited` is
    what `credit_notes`, which correct it, come to; a credit note corrects `corrects_number`."""

    invoice_id: UUID
    kind: str
    status: str
    number: str
    merchant_id: UUID
    merchant_name: str
    consumer_id: UUID
    first_day: date
    last_day: date
    currency: str
    subtotal: Decimal
    commission_rate: Decimal
    commission: Decimal
    total: Decimal
    created_at: datetime
    updated_at: datetime
    issued_at: datetime | None
    due_on: date | None
    paid_at: datetime | None
    sent_at: datetime | None
    corrects_invoice_id: UUID | None
    reason: str
    credited: Decimal
    corrects_number: str
    credit_notes: tuple[CreditNote, ...]
    lines: tuple[Line | Credit, ...] = ()

    @property
    def is_nothing_due(self) -> bool:
        """Kept as proof of use: neither sent nor overdue."""
        return self.subtotal == self.credited
