"""The RPCs about runs that make invoices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams_common.clock import Clock, utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.pseudonyms import Pseudonyms, is_pseudonym

from billing_svc.callers import acting_role, audience_of
from billing_svc.messages import Audience, run_message
from billing_svc.runs import is_over
from billing_svc.store import Store


@dataclass(kw_only=True, eq=False)
class InvoiceRunRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    clock: Clock = utc_now

    async def IssueInvoices(self, request: pb.IssueInvoicesRequest, context: Context) -> pb.InvoiceRun:
        last_day, now = date.fromisoformat(request.last_day), self.clock()
        role = acting_role(current_caller(), request.role, MERCHANT)
        if not is_over(last_day, now):
            violation = FieldViolation("lastDay", "must be a UTC day that is over")
            raise InvalidArgumentError("last_day_invalid", "lastDay must be a day that is over.", [violation])
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.InvoiceRun)) is not None:
                return done
            if role == ADMIN:
                merchant_id = UUID(request.merchant_id) if request.merchant_id else None
                consumer_ids = _ids(request.consumers)
            else:
                merchant_id = current_user_id()
                consumer_ids = await self._named(change.store, merchant_id, request.consumers)
            run_id = uuid7()
            await change.store.add_run(
                invoice_run_id=run_id,
                last_day=last_day,
                merchant_id=merchant_id,
                consumer_ids=consumer_ids,
                is_monthly=False,
                asked_by=current_user_id(),
                is_of_merchant=role == MERCHANT,
                created_at=now,
            )
            details = {"merchant_id": str(merchant_id)} if merchant_id else {}
            change.audit("invoice_run", run_id, last_day=request.last_day, **details)
            run = await change.store.find_run(invoice_run_id=run_id, asked_by=None)
            assert run is not None  # added above
            answer = run_message(run, audience_of(role), self.pseudonyms)
            await change.remember(request, answer)
        return answer

    async def ListInvoiceRuns(
        self, request: pb.ListInvoiceRunsRequest, context: Context
    ) -> pb.ListInvoiceRunsResponse:
        asked_by, audience = _asker()
        async with self.database.read() as store:
            page = await store.list_runs(page_request(request), asked_by=asked_by)
        return pb.ListInvoiceRunsResponse(
            runs=[run_message(run, audience, self.pseudonyms) for run in page.rows],
            next_page_token=page.next_token,
        )

    async def GetInvoiceRun(self, request: pb.GetInvoiceRunRequest, context: Context) -> pb.InvoiceRun:
        asked_by, audience = _asker()
        async with self.database.read() as store:
            run = await store.find_run(invoice_run_id=UUID(request.invoice_run_id), asked_by=asked_by)
        if run is None:
            raise NotFoundError("invoice_run_not_found", "There is no such run.")
        return run_message(run, audience, self.pseudonyms)

    async def _named(self, store: Store, merchant_id: UUID, consumers: Sequence[str]) -> list[UUID] | None:
        _require_each(consumers, is_pseudonym, "must be a consumer's pseudonym")
        if not consumers:
            return None
        known = await store.list_consumers_of_merchant(merchant_id=merchant_id)
        return self.pseudonyms.find_consumers(consumers, merchant_id, known)


def _asker() -> tuple[UUID | None, Audience]:
    """Whose runs are shown; None: all."""
    if ADMIN in current_caller().roles:
        return None, Audience.ADMIN
    return current_user_id(), Audience.MERCHANT


def _ids(consumers: Sequence[str]) -> list[UUID] | None:
    _require_each(consumers, _is_id, "must be a consumer's id")
    return [UUID(text) for text in consumers] or None


def _require_each(consumers: Sequence[str], is_right: Callable[[str], bool], description: str) -> None:
    violations = [
        FieldViolation(f"consumers[{index}]", description)
        for index, text in enumerate(consumers)
        if not is_right(text)
    ]
    if violations:
        raise InvalidArgumentError("consumer_invalid", f"{violations[0].field} {description}.", violations)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
