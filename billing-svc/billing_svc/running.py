"""Invoice runs at work: merchants side by side, each in a transaction of its own, so that a run can be
broken off and taken up again at any point, by any process."""

import asyncio
import logging
from datetime import datetime, timedelta
from uuid import UUID

from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.faults import PASSING_FAULTS
from ams_common.ids import uuid7
from ams_common.loops import run_forever

from billing_svc.issuing import issue_merchant
from billing_svc.periods import last_day_of
from billing_svc.runs import InvoiceRun, RunProblem, RunScope, month_to_bill
from billing_svc.store import Store

log = logging.getLogger(__name__)

_EVERY_S = 0.5
_CALENDAR_EVERY_S = 60.0
_OVERDUE_EVERY_S = 600.0
_OVERDUE_BATCH = 500
# More than one, so that one is rated while PostgreSQL works for another.
_WORKERS = 3


class InvoiceRunner:
    """Works off runs. Several processes share a run's merchants."""

    def __init__(self, database: Database[Store], *, due_days: int, clock: Clock = utc_now) -> None:
        self._database = database
        self._due_days = due_days
        self._clock = clock

    async def run(self) -> None:
        """For ever: works off whatever runs there are."""
        await run_forever("invoice runs", self.work_off, _EVERY_S)

    async def work_off(self) -> None:
        """Until no run has a merchant left that nobody works for."""
        async with self._database.read() as store:
            runs = await store.list_unfinished_runs()
        for scope in runs:
            await self._begin(scope)
            workers = [self._work(scope) for _ in range(_WORKERS)]
            for fault in await asyncio.gather(*workers, return_exceptions=True):
                if fault is not None:
                    raise fault
            # Its merchants are in the audit log, each with its invoices.
            async with self._database.change_by_system("invoice_run.finish", audited=False) as change:
                await change.store.finish_run(invoice_run_id=scope.invoice_run_id, now=self._clock())

    async def _begin(self, scope: RunScope) -> None:
        async with self._database.change_by_system("invoice_run.begin", audited=False) as change:
            if await change.store.begin_run(invoice_run_id=scope.invoice_run_id) is not None:
                await change.store.add_run_merchants(
                    invoice_run_id=scope.invoice_run_id,
                    merchant_id=scope.merchant_id,
                    consumer_ids=scope.consumer_ids,
                )
                await change.store.analyze_invoices()

    async def _work(self, scope: RunScope) -> None:
        while await self._issue_next(scope):
            pass

    async def _issue_next(self, scope: RunScope) -> bool:
        """One merchant's invoices; False when none is left."""
        merchant_id: UUID | None = None
        try:
            async with self._database.change_by_system("invoice.issue") as change:
                # Locked until the commit: whoever dies leaves it to the others.
                merchant_id = await change.store.take_run_merchant(invoice_run_id=scope.invoice_run_id)
                if merchant_id is None:
                    change.nothing_to_audit()
                    return False
                issued = await issue_merchant(change, merchant_id, scope, self._clock(), self._due_days)
                await change.store.add_run_problems(scope.invoice_run_id, issued.problems)
                await change.store.finish_run_merchant(
                    invoice_run_id=scope.invoice_run_id, merchant_id=merchant_id, invoices=issued.invoices
                )
                change.audit(
                    "merchant",
                    merchant_id,
                    invoice_run_id=str(scope.invoice_run_id),
                    invoices=str(issued.invoices),
                )
        except PASSING_FAULTS:
            raise
        except Exception:
            if merchant_id is None:
                raise
            log.critical("a merchant's invoices can't be made", exc_info=True)
            await self._give_up(scope.invoice_run_id, merchant_id)
        return True

    async def _give_up(self, run_id: UUID, merchant_id: UUID) -> None:
        """Its fault must not keep the others' invoices back."""
        problem = RunProblem(merchant_id, None, None, "internal", "Something went wrong on our side.")
        async with self._database.change_by_system("invoice.issue") as change:
            finished = await change.store.finish_run_merchant(
                invoice_run_id=run_id, merchant_id=merchant_id, invoices=0
            )
            if not finished:  # another worker took it meanwhile, and has said so
                change.nothing_to_audit()
                return
            await change.store.add_run_problems(run_id, [problem])
            change.audit("merchant", merchant_id, invoice_run_id=str(run_id), problem=problem.code)


async def follow_calendar(database: Database[Store], grace: timedelta, clock: Clock = utc_now) -> None:
    """For ever: begins each month's run once its grace time is over."""

    async def work() -> None:
        await begin_monthly_run(database, month_to_bill(clock(), grace), clock())

    await run_forever("monthly run", work, _CALENDAR_EVERY_S)


async def begin_monthly_run(database: Database[Store], month: str, now: datetime) -> bool:
    """Begins a month's run unless it was begun before, by whatever process; returns whether it did."""
    async with database.change_by_system("invoice_run.begin") as change:
        begun = await change.store.add_run(**_monthly(month, now, is_monthly=True))
        if begun is None:
            change.nothing_to_audit()
        else:
            change.audit("invoice_run", begun, last_day=last_day_of(month).isoformat())
    return begun is not None


async def run_month(
    runner: InvoiceRunner, database: Database[Store], month: str, now: datetime
) -> InvoiceRun:
    """The month's run, taken up where it stands; one that is done already is followed by another, for what
    has come since or could not be made. Returns when it is finished."""
    async with database.read() as store:
        run = await store.find_monthly_run(last_day=last_day_of(month))
    run_id = run.invoice_run_id if run is not None else None
    if run is None or run.finished_at is not None:
        async with database.change_by_system("invoice_run.begin") as change:
            run_id = await change.store.add_run(**_monthly(month, now, is_monthly=run is None))
            if run_id is None:
                change.nothing_to_audit()  # another process was faster: its run is taken up
            else:
                change.audit("invoice_run", run_id, last_day=last_day_of(month).isoformat())
    while True:
        await runner.work_off()
        async with database.read() as store:
            if run_id is None:
                found = await store.find_monthly_run(last_day=last_day_of(month))
            else:
                found = await store.find_run(invoice_run_id=run_id, asked_by=None)
        if found is not None and found.finished_at is not None:
            return found
        await asyncio.sleep(_EVERY_S)  # another process has the last merchants


async def keep_overdue(database: Database[Store], clock: Clock = utc_now) -> None:
    """For ever: what wasn't paid by its due day is overdue."""

    async def work() -> None:
        while await set_overdue(database, clock()) == _OVERDUE_BATCH:
            pass

    await run_forever("overdue invoices", work, _OVERDUE_EVERY_S)


async def set_overdue(database: Database[Store], now: datetime) -> int:
    """A batch of them; returns how many."""
    async with database.change_by_system("invoice.overdue") as change:
        overdue = await change.store.set_overdue(today=now.date(), now=now, limit=_OVERDUE_BATCH)
        for invoice_id in overdue:
            change.audit("invoice", invoice_id)
        if not overdue:
            change.nothing_to_audit()
    return len(overdue)


def _monthly(month: str, now: datetime, *, is_monthly: bool) -> dict[str, object]:
    return {
        "invoice_run_id": uuid7(),
        "last_day": last_day_of(month),
        "merchant_id": None,
        "consumer_ids": None,
        "is_monthly": is_monthly,
        "asked_by": None,
        "is_of_merchant": False,
        "created_at": now,
    }
