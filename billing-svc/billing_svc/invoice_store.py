"""Reading and writing invoices. An invoice is always read with its lines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ams_common.ids import uuid7
from ams_common.paging import Page, PageRequest
from ams_common.queries import QueryStore, column, many, maybe_value, one, page, run, value

from billing_svc.invoices import Credit, Invoice, InvoiceContent, Line
from billing_svc.periods import first_day_of, last_day_of
from billing_svc.revenue import RevenueTotal
from billing_svc.rows import (
    INVOICE_COLUMNS,
    LINE_COLUMNS,
    Counters,
    Pair,
    invoice_record,
    line_record,
    stored_invoice,
    stored_line,
)


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """Which invoices are listed; "" and None stand for any. `period` is the month of their last day."""

    period: str = ""
    status: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """What a draft gets when it is issued."""

    invoice_id: UUID
    sequence: int
    number: str
    due_on: date | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credited:
    """What the credit notes of an invoice come to so far."""

    subtotal: Decimal
    commission: Decimal


class InvoiceStore(QueryStore, package="billing_svc"):
    """The invoices of the schema `billing`."""

    _list_merchant_names = many(dict[str, Any])
    _list_drafts = many(dict[str, Any])
    _delete_draft_lines = run()
    _delete_drafts = run()
    take_numbers = value(int)
    _issue_drafts = run()
    _add_invoice_usage = run()
    add_invoice_prices = run()
    add_invoice_roots = run()
    rebill_usage = run()
    list_void_invoices = column(UUID)
    list_months_of_invoice = column(str)

    _find_invoice = many(dict[str, Any])
    _find_credited = one(Credited)
    set_status = run()
    set_sent = run()
    set_overdue = column(UUID)
    _list_lines = many(dict[str, Any])
    _plan_for_values = value(str)
    _list_invoices = page(dict[str, Any])
    _list_merchant_invoices = page(dict[str, Any])
    _list_consumer_invoices = page(dict[str, Any])
    _list_issued = many(dict[str, Any])
    sum_issued = many(RevenueTotal)
    find_merchant_name = maybe_value(str)

    async def replace_drafts(
        self, pairs: Iterable[Pair], contents: Sequence[InvoiceContent], now: datetime
    ) -> list[UUID]:
        """Writes the drafts of `pairs` anew, and returns their ids in the order of `contents`. One that there
        was keeps its id. To be called under their merchants' locks."""
        listed = list(pairs)
        drafts = {
            (row["merchant_id"], row["consumer_id"], row["currency"]): row
            for row in await self._list_drafts(
                merchant_ids=[pair.merchant_id for pair in listed],
                consumer_ids=[pair.consumer_id for pair in listed],
            )
        }
        old_ids = [row["invoice_id"] for row in drafts.values()]
        if old_ids:
            await self._delete_draft_lines(invoice_ids=old_ids)
            await self._delete_drafts(invoice_ids=old_ids)
        names = {
            row["merchant_id"]: row["display_name"]
            for row in await self._list_merchant_names(
                merchant_ids=list({content.merchant_id for content in contents})
            )
        }
        ids, invoices, lines = [], [], []
        for content in contents:
            draft = drafts.get((content.merchant_id, content.consumer_id, content.currency))
            invoice_id, created_at = (draft["invoice_id"], draft["created_at"]) if draft else (uuid7(), now)
            ids.append(invoice_id)
            name = names.get(content.merchant_id, "")
            invoices.append(invoice_record(invoice_id, content, name, created_at, now))
            lines += [line_record(invoice_id, at, line) for at, line in enumerate(content.lines, start=1)]
        await self._copy("invoices", INVOICE_COLUMNS, invoices)
        await self._copy("invoice_lines", LINE_COLUMNS, lines)
        return ids

    async def add_credit_note(self, note: Mapping[str, Any], credit: Credit) -> None:
        """Writes a credit note, as a draft that is issued in the same transaction."""
        await self._copy("invoices", tuple(note), [tuple(note.values())])
        line = {
            "invoice_id": note["invoice_id"],
            "position": 1,
            "kind": "credit",
            "description": credit.description,
            "amount": credit.amount,
        }
        await self._copy("invoice_lines", tuple(line), [tuple(line.values())])

    async def issue_drafts(self, issues: Sequence[Issue], issued_at: datetime) -> None:
        """From now on they never change."""
        await self._issue_drafts(
            invoice_ids=[issue.invoice_id for issue in issues],
            sequences=[issue.sequence for issue in issues],
            numbers=[issue.number for issue in issues],
            due_ons=[issue.due_on for issue in issues],
            sent_ats=[issue.sent_at for issue in issues],
            issued_at=issued_at,
        )

    async def add_invoice_usage(self, counted: Sequence[tuple[UUID, Counters]]) -> None:
        """Keeps which usage is behind invoices: `counted` has for an invoice's id the counters as they were
        summed for it (see rows.CountedUsage)."""
        columns = [[item for _, counters in counted for item in counters[at]] for at in range(6)]
        await self._add_invoice_usage(
            invoice_ids=[invoice_id for invoice_id, counters in counted for _ in counters[0]],
            counter_ids=columns[0],
            events=columns[1],
            requests=columns[2],
            request_bytes=columns[3],
            response_bytes=columns[4],
            last_offsets=columns[5],
        )

    async def find_invoice(
        self, *, invoice_id: UUID, is_admin: bool, merchant_id: UUID | None, consumer_id: UUID | None
    ) -> Invoice | None:
        """One that the caller owns in a role that they hold; the ids of other roles are None."""
        rows = await self._find_invoice(
            invoice_id=invoice_id, is_admin=is_admin, merchant_id=merchant_id, consumer_id=consumer_id
        )
        return next(iter(await self._with_lines(rows, with_steps=True)), None)

    async def find_credited(self, invoice_id: UUID) -> Credited:
        found = await self._find_credited(invoice_id=invoice_id)
        assert found is not None  # a sum is always there
        return found

    async def list_invoices(
        self, wanted: PageRequest, which: InvoiceFilter, *, consumer_id: UUID | None
    ) -> Page[Invoice]:
        """All merchants'; None stands for any consumer."""
        await self._plan_for_values()
        return await self._whole(await self._list_invoices(wanted, **_filter(which), consumer_id=consumer_id))

    async def list_merchant_invoices(
        self,
        wanted: PageRequest,
        which: InvoiceFilter,
        *,
        merchant_id: UUID,
        consumer_ids: Sequence[UUID] | None,
    ) -> Page[Invoice]:
        """A merchant's, to some consumers; None stands for all."""
        await self._plan_for_values()
        return await self._whole(
            await self._list_merchant_invoices(
                wanted, **_filter(which), merchant_id=merchant_id, consumer_ids=consumer_ids
            )
        )

    async def list_consumer_invoices(
        self, wanted: PageRequest, which: InvoiceFilter, *, consumer_id: UUID, merchant_id: UUID | None
    ) -> Page[Invoice]:
        """A consumer's that are issued; None stands for any merchant."""
        await self._plan_for_values()
        return await self._whole(
            await self._list_consumer_invoices(
                wanted, **_filter(which), consumer_id=consumer_id, merchant_id=merchant_id
            )
        )

    async def list_issued(
        self, *, merchant_id: UUID, since: datetime, until: datetime, limit: int
    ) -> list[Invoice]:
        """What a merchant issued from `since` on, before `until`, by number; without lines."""
        rows = await self._list_issued(merchant_id=merchant_id, since=since, until=until, limit=limit)
        return [stored_invoice(row, ()) for row in rows]

    async def _whole(self, found: Page[dict[str, Any]]) -> Page[Invoice]:
        return Page(await self._with_lines(found.rows), found.next_token)

    async def _with_lines(
        self, rows: Sequence[Mapping[str, Any]], *, with_steps: bool = False
    ) -> list[Invoice]:
        # One query for the lines of all invoices, not one for each.
        currencies: dict[UUID, str] = {row["invoice_id"]: row["currency"] for row in rows}
        lines: dict[UUID, list[Line | Credit]] = {invoice_id: [] for invoice_id in currencies}
        for row in await self._list_lines(invoice_ids=list(currencies), with_steps=with_steps):
            lines[row["invoice_id"]].append(stored_line(row, currencies[row["invoice_id"]]))
        return [stored_invoice(row, lines[row["invoice_id"]]) for row in rows]

    async def _copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> None:
        if records:
            await self.connection.copy_records_to_table(table, records=records, columns=columns)


def _filter(which: InvoiceFilter) -> dict[str, Any]:
    return {
        "first_day": first_day_of(which.period) if which.period else None,
        "last_day": last_day_of(which.period) if which.period else None,
        "status": which.status,
        "kind": which.kind,
    }
