"""Issuing a merchant's invoices, and correcting them: each within one transaction, under the merchant's
lock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ams.identity.v1.notifications_pb2 import InvoiceIssued, Notification
from ams_common import topics
from ams_common.clock import to_timestamp
from ams_common.database import Change
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.money import to_money
from ams_rating.charging import is_charged
from ams_rating.currencies import MINOR_UNIT_DIGITS

from billing_svc.commission import commission_credited
from billing_svc.invoice_store import Issue
from billing_svc.invoices import Credit, Invoice, InvoiceContent, sum_exactly
from billing_svc.open_usage import OpenUsage, closed_months, read_open_usage
from billing_svc.periods import day_of
from billing_svc.rating import RatingProblem
from billing_svc.rows import CountedUsage, Counters, Pair
from billing_svc.runs import RunProblem, RunScope, run_problem
from billing_svc.store import Store

# So many consumers at a time: what is in memory doesn't grow with a merchant's.
_CHUNK = 500
_PREFIXES = {"invoice": "INV", "credit_note": "CN"}


@dataclass(frozen=True, slots=True)
class Issued:
    """What became of a merchant in a run."""

    invoices: int
    problems: tuple[RunProblem, ...]


async def issue_merchant(
    change: Change[Store], merchant_id: UUID, scope: RunScope, now: datetime, due_days: int
) -> Issued:
    """Issues what the merchant's consumers in scope have open through the scope's day. What can't be rated
    blocks its own consumer's invoice only."""
    store = change.store
    await store.lock_merchant(merchant_id=merchant_id)
    merchant_name = await store.find_merchant_name(merchant_id=merchant_id) or ""
    consumers = await store.list_open_consumers(merchant_id=merchant_id, consumer_ids=scope.consumer_ids)
    invoices, problems = 0, []
    for start in range(0, len(consumers), _CHUNK):
        pairs = [Pair(merchant_id, consumer_id) for consumer_id in consumers[start : start + _CHUNK]]
        chunk = _Chunk(change, merchant_name, now, due_days)
        problems += await chunk.issue(pairs, scope.last_day)
        invoices += chunk.invoices
        await change.flush()
    return Issued(invoices, tuple(map(run_problem, problems)))


@dataclass(slots=True)
class _Chunk:
    """Some consumers of a merchant, whose invoices are issued together."""

    change: Change[Store]
    merchant_name: str
    now: datetime
    due_days: int
    invoices: int = 0

    async def issue(self, pairs: Sequence[Pair], last_day: date) -> list[RatingProblem]:
        store = self.change.store
        await store.add_open_months(await store.take_marks(pairs))
        months = await store.list_open_months(pairs)
        rates = await store.list_commission_rates()
        found = await read_open_usage(store, months, rates, last_day)
        good = {pair: usage for pair, usage in found.items() if not usage.problems}
        contents = [invoice for usage in good.values() for invoice in usage.composed.invoices]
        ids = await store.replace_drafts(good, contents, self.now)
        if contents:
            await self._issue(good, contents, ids)
        closed = {(pair, month) for pair, usage in good.items() for month in closed_months(usage, last_day)}
        await store.close_months(closed)
        # What is open behind the last day gets its draft back, and what can't be rated its alarm.
        await store.add_marks(month for month in months if month not in closed)
        return [problem for usage in found.values() for problem in usage.problems]

    async def _issue(
        self, found: dict[Pair, OpenUsage], contents: Sequence[InvoiceContent], ids: Sequence[UUID]
    ) -> None:
        store = self.change.store
        merchant_id = contents[0].merchant_id
        last = await store.take_numbers(merchant_id=merchant_id, kind="invoice", count=len(contents))
        due_on = day_of(self.now) + timedelta(days=self.due_days)
        issues = []
        for sequence, (invoice_id, content) in enumerate(
            zip(ids, contents, strict=True), start=last - len(contents) + 1
        ):
            is_due = content.subtotal > 0
            issue = Issue(
                invoice_id,
                sequence,
                format_number("invoice", sequence),
                due_on if is_due else None,
                self.now if is_due else None,
            )
            issues.append(issue)
            if is_due:
                self.change.publish(
                    topics.NOTIFICATIONS,
                    str(content.consumer_id),
                    _notification(issue, content, self.merchant_name, self.now),
                )
        await store.issue_drafts(issues, self.now)
        counted = [
            each
            for content, invoice_id in zip(contents, ids, strict=True)
            for each in _counted(found[Pair(content.merchant_id, content.consumer_id)], content, invoice_id)
        ]
        await self._keep_usage(merchant_id, counted, [content.consumer_id for content in contents])
        await self._keep_prices(found, contents, ids)
        await store.add_invoice_roots(invoice_ids=ids, merchant_id=merchant_id)
        self.invoices += len(contents)

    async def _keep_usage(
        self, merchant_id: UUID, counted: list[tuple[UUID, Counters]], consumer_ids: list[UUID]
    ) -> None:
        store = self.change.store
        void = await store.list_void_invoices(merchant_id=merchant_id, consumer_ids=consumer_ids)
        if void:
            await store.rebill_usage(
                invoice_ids=[invoice_id for invoice_id, counters in counted for _ in counters[0]],
                counter_ids=[counter for _, counters in counted for counter in counters[0]],
                void_invoice_ids=void,
            )
        await store.add_invoice_usage(counted)

    async def _keep_prices(
        self, found: dict[Pair, OpenUsage], contents: Sequence[InvoiceContent], ids: Sequence[UUID]
    ) -> None:
        """What was rated is what the proof is of, whichever price becomes known afterwards. Also of other
        currencies: all versions of a month decide together which of them has its fee."""
        rated = [
            (invoice_id, each.usage.version.price_version_id, each.usage.first_day)
            for content, invoice_id in zip(contents, ids, strict=True)
            for each in _usages_of(found[Pair(content.merchant_id, content.consumer_id)], content)
            if each.usage.version is not None
        ]
        await self.change.store.add_invoice_prices(
            invoice_ids=[invoice_id for invoice_id, _, _ in rated],
            price_version_ids=[version_id for _, version_id, _ in rated],
            first_days=[first_day for _, _, first_day in rated],
        )


def _usages_of(usage: OpenUsage, content: InvoiceContent) -> Iterator[CountedUsage]:
    """The usage of the services and months that the invoice has lines of."""
    said = {line.rated.key[:2] for line in content.lines}
    return (each for each in usage.usages if (each.usage.service_id, each.usage.month) in said)


def _counted(usage: OpenUsage, content: InvoiceContent, invoice_id: UUID) -> Iterator[tuple[UUID, Counters]]:
    """The counters of the services and months that the invoice has lines of, as far as they are charged."""
    for each in _usages_of(usage, content):
        version = each.usage.version
        if (
            version is not None
            and version.price.currency == content.currency
            and is_charged(version.price.charge_rule, each.charge_class)
        ):
            yield invoice_id, each.counters


def format_number(kind: str, sequence: int) -> str:
    return f"{_PREFIXES[kind]}-{sequence:06d}"


def _notification(issue: Issue, content: InvoiceContent, merchant_name: str, now: datetime) -> Notification:
    return Notification(
        notification_id=f"invoice-issued/{issue.invoice_id}",
        user_id=str(content.consumer_id),
        occurred_at=to_timestamp(now),
        invoice_issued=InvoiceIssued(
            invoice_id=str(issue.invoice_id),
            number=issue.number,
            merchant_name=merchant_name,
            first_day=content.first_day.isoformat(),
            last_day=content.last_day.isoformat(),
            total=to_money(content.subtotal, content.currency),
            due_on=issue.due_on.isoformat() if issue.due_on else "",
        ),
    )


def invoice_notification(invoice: Invoice, notification_id: str, now: datetime) -> Notification:
    """Tells a consumer of an invoice or credit note."""
    return Notification(
        notification_id=notification_id,
        user_id=str(invoice.consumer_id),
        occurred_at=to_timestamp(now),
        invoice_issued=InvoiceIssued(
            invoice_id=str(invoice.invoice_id),
            number=invoice.number,
            merchant_name=invoice.merchant_name,
            first_day=invoice.first_day.isoformat(),
            last_day=invoice.last_day.isoformat(),
            total=to_money(invoice.subtotal, invoice.currency),
            due_on=invoice.due_on.isoformat() if invoice.due_on else "",
            is_credit_note=invoice.kind == "credit_note",
        ),
    )


async def credit(
    change: Change[Store], invoice: Invoice, amount: Decimal, reason: str, now: datetime
) -> Invoice:
    """Takes `amount` of an issued invoice back, and tells the consumer. Answers the credit note.

    Raises FailedPreconditionError credit_too_high. To be called under the merchant's lock.
    """
    store = change.store
    before = await store.find_credited(invoice.invoice_id)
    if amount > sum_exactly((invoice.subtotal, -before.subtotal)):
        raise FailedPreconditionError("credit_too_high", "More would be credited than was invoiced.")
    commission = commission_credited(
        before.subtotal, amount, before.commission, invoice.commission_rate, invoice.currency
    )
    note_id = uuid7()
    note: dict[str, Any] = {
        "invoice_id": note_id,
        "kind": "credit_note",
        "merchant_id": invoice.merchant_id,
        "merchant_name": invoice.merchant_name,
        "consumer_id": invoice.consumer_id,
        "first_day": invoice.first_day,
        "last_day": invoice.last_day,
        "currency": invoice.currency,
        "minor_unit_digits": MINOR_UNIT_DIGITS[invoice.currency],
        "subtotal": amount,
        "commission_rate": invoice.commission_rate,
        "commission": commission,
        "total": sum_exactly((amount, -commission)),
        "created_at": now,
        "updated_at": now,
        "corrects_invoice_id": invoice.invoice_id,
        "reason": reason,
    }
    await store.add_credit_note(note, Credit(f"Credit of {invoice.number}: {reason}", amount))
    sequence = await store.take_numbers(merchant_id=invoice.merchant_id, kind="credit_note", count=1)
    number = format_number("credit_note", sequence)
    await store.issue_drafts([Issue(note_id, sequence, number, None, now)], now)
    found = await store.find_invoice(invoice_id=note_id, is_admin=True, merchant_id=None, consumer_id=None)
    assert found is not None
    change.publish(
        topics.NOTIFICATIONS,
        str(found.consumer_id),
        invoice_notification(found, f"invoice-issued/{note_id}", now),
    )
    return found


async def void(change: Change[Store], invoice: Invoice, reason: str, now: datetime) -> None:
    """Takes a whole invoice back: a credit note for what isn't credited yet, and its usage is open again. To
    be called under the merchant's lock."""
    store = change.store
    rest = sum_exactly((invoice.subtotal, -invoice.credited))
    if rest > 0:
        await credit(change, invoice, rest, reason, now)
    await store.set_status(invoice_id=invoice.invoice_id, status="void", paid_at=None, now=now)
    months = await store.list_months_of_invoice(invoice_id=invoice.invoice_id)
    await store.add_marks((Pair(invoice.merchant_id, invoice.consumer_id), month) for month in months)
