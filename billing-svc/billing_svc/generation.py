"""Making a month's draft invoices within one transaction."""

from collections.abc import Callable, Sequence
from uuid import UUID

from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError

from billing_svc.commission import rate_for
from billing_svc.invoices import Invoice, InvoiceContent, InvoiceScope, draft_invoices
from ams_common.pseudonyms import Pseudonyms, is_pseudonym
from billing_svc.store import Store

# One answer holds at most so many invoices; all of the scope are made, and the lists show the rest.
ANSWER_LIMIT = 200


async def scope_of_merchant(
    store: Store, pseudonyms: Pseudonyms, period: str, merchant_id: UUID, consumers: Sequence[str]
) -> InvoiceScope:
    """What a merchant, who generates its own invoices, means; `consumers` are pseudonyms.

    Raises InvalidArgumentError.
    """
    _require_each(consumers, is_pseudonym, "must be a consumer's pseudonym")
    if not consumers:
        return InvoiceScope(period, merchant_id, None)
    known = await store.list_consumers_of_merchant(merchant_id=merchant_id, period=period)
    return InvoiceScope(period, merchant_id, pseudonyms.find_consumers(consumers, merchant_id, known))


def scope_of_admin(period: str, merchant_id: UUID | None, consumers: Sequence[str]) -> InvoiceScope:
    """What an admin, who may generate anybody's invoices, means; `consumers` are ids.

    Raises InvalidArgumentError.
    """
    _require_each(consumers, _is_id, "must be a consumer's id")
    return InvoiceScope(period, merchant_id, [UUID(text) for text in consumers] or None)


async def generate(store: Store, scope: InvoiceScope) -> list[Invoice]:
    """Bring the drafts of `scope` up to the billing counters; the first ANSWER_LIMIT of them.

    Raises FailedPreconditionError as draft_month() does.
    """
    # Before the counters are read, so that of two runs the later one's figures are newer.
    await store.lock_month(scope.period, scope.merchant_id)
    contents = await draft_month(store, scope)
    stored = {invoice.content.key: invoice.content for invoice in await store.list_drafts(scope)}
    # What is up to date already keeps its time of change.
    changed = [content for content in contents if stored.get(content.key) != content]
    if changed:
        await store.save_drafts(scope.period, changed)
    return await store.list_drafts(scope, ANSWER_LIMIT)


async def draft_month(store: Store, scope: InvoiceScope) -> list[InvoiceContent]:
    """What the invoices of `scope` come to by the present counters.

    Raises FailedPreconditionError as draft_invoices() does, and when no commission holds for the month.
    """
    rate = rate_for(scope.period, await store.list_commission_rates())
    if rate is None:
        raise FailedPreconditionError("commission_rate_unknown", "No commission rate holds for that month.")
    usages = await store.list_usage(
        period=scope.period, merchant_id=scope.merchant_id, consumer_ids=scope.consumer_ids
    )
    return draft_invoices(usages, rate)


def _require_each(consumers: Sequence[str], is_right: Callable[[str], bool], description: str) -> None:
    violations = [
        FieldViolation(f"consumers[{index}]", description)
        for index, text in enumerate(consumers)
        if not is_right(text)
    ]
    if violations:
        raise InvalidArgumentError("invalid_argument", f"{violations[0].field} {description}.", violations)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
