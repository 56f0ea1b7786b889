"""Making a month's draft invoices within one transaction."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError

from billing_svc.commission import rate_for
from billing_svc.invoices import Draft, Invoice, draft_invoices
from billing_svc.pseudonyms import Pseudonyms, is_pseudonym
from billing_svc.store import Scope, Store

# One answer holds at most so many invoices; all of the scope are made, and the lists show the rest.
ANSWER_LIMIT = 200


async def scope_of_merchant(
    connection: asyncpg.Connection,
    store: Store,
    pseudonyms: Pseudonyms,
    period: str,
    merchant_id: UUID,
    consumers: Sequence[str],
) -> Scope:
    """A merchant's own invoices; `consumers` are pseudonyms. Raises InvalidArgumentError."""
    _refuse([not is_pseudonym(name) for name in consumers], "must be a consumer's pseudonym")
    if not consumers:
        return Scope(period, merchant_id, None)
    known = await store.list_consumers_of_merchant(connection, merchant_id, period)
    return Scope(period, merchant_id, pseudonyms.find(consumers, merchant_id, known))


def scope_of_admin(period: str, merchant_id: UUID | None, consumers: Sequence[str]) -> Scope:
    """Anybody's invoices; `consumers` are ids. Raises InvalidArgumentError."""
    ids = [_uuid(text) for text in consumers]
    _refuse([consumer_id is None for consumer_id in ids], "must be a consumer's id")
    return Scope(period, merchant_id, [i for i in ids if i is not None] if ids else None)


async def generate(connection: asyncpg.Connection, store: Store, scope: Scope) -> list[Invoice]:
    """Bring the drafts of `scope` up to the billing counters; the first ANSWER_LIMIT of them.

    The lock comes before the counters are read, so of two runs the later one's figures are newer. What
    is up to date already is not written again. Raises FailedPreconditionError as draft_invoices() does.
    """
    await store.lock_month(connection, scope.period, scope.merchant_id)
    drafts = await draft_month(connection, store, scope)
    stored = [invoice.content for invoice in await store.list_drafts(connection, scope)]
    known = {content.key: content for content in stored}
    changed = [draft for draft in drafts if known.get(draft.key) != draft]
    if changed:
        await store.save_drafts(connection, scope.period, changed)
    return await store.list_drafts(connection, scope, ANSWER_LIMIT)


async def draft_month(connection: asyncpg.Connection, store: Store, scope: Scope) -> list[Draft]:
    """What the invoices of `scope` come to by the present counters. Raises FailedPreconditionError as
    draft_invoices() does, and when no commission holds for the month."""
    rate = rate_for(scope.period, await store.list_commission_rates(connection))
    if rate is None:
        raise FailedPreconditionError("commission_rate_unknown", "No commission rate holds for that month.")
    return draft_invoices(await store.list_usage(connection, scope), rate)


def _refuse(is_wrong: Sequence[bool], description: str) -> None:
    violations = [
        FieldViolation(f"consumers[{index}]", description) for index, wrong in enumerate(is_wrong) if wrong
    ]
    if violations:
        raise InvalidArgumentError("invalid_argument", f"{violations[0].field} {description}.", violations)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
