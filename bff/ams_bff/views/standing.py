"""Pages on which admins stop merchants and consumers, and let them go on. A description tells them apart."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_UNSPECIFIED, Standing
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.errors import AppError, FailedPreconditionError
from starlette.responses import Response

from ams_bff.http.downloads import message_download
from ams_bff.http.routing import View, action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views.admin_records import audit_of
from ams_bff.views.effects import effect_flash

Account: TypeAlias = pb.Merchant | pb.Consumer
Listed: TypeAlias = pb.ListMerchantsResponse | pb.ListConsumersResponse
# Sets the standing of the account with the id, for a reason.
Change: TypeAlias = Callable[[Visit, str, str], Awaitable[Account]]
# What a page of one kind shows that the other's doesn't.
LoadMore: TypeAlias = Callable[[Visit], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class AccountKind:
    """Merchants, or consumers. Its templates are admin/<noun>s.html and admin/<noun>.html."""

    noun: str
    named_by: str  # the field that an account is called by
    sorts: Sequence[str]
    columns: Sequence[str]  # of its file, as of message_download()
    get: Callable[[Visit, str], Awaitable[Account]]
    ask: Callable[..., Awaitable[Listed]]
    stopped: Standing.ValueType
    stop_verb: str
    stop: Change
    stopped_text: str  # follows the account's name, as the next one
    restore_verb: str
    restore: Change
    restored_text: str
    load_account: LoadMore
    load_list: LoadMore | None = None
    page_size: int = 25

    @property
    def path(self) -> str:
        """The list's; each account has its own below it."""
        return f"/admin/{self.noun}s"

    @property
    def stopped_word(self) -> str:
        """The standing as the URL has it: "suspended"."""
        return Standing.Name(self.stopped).removeprefix("STANDING_").lower()

    def name_of(self, account: Account) -> str:
        return str(getattr(account, self.named_by))

    def path_of(self, account: Account) -> str:
        return f"{self.path}/{getattr(account, f'{self.noun}_id')}"


def views_of(kind: AccountKind) -> tuple[View, ...]:
    """The list, its file, an account and what is done to it."""

    async def show_list(visit: Visit) -> Response:
        return await list_page(kind, visit, Form())

    async def ask(visit: Visit, size: int, page_token: str) -> Listed:
        return await _ask(kind, visit, size, page_token)

    async def show_account(visit: Visit) -> Response:
        return await _account_page(kind, visit, Form())

    async def stop(visit: Visit) -> Response:
        undo = f"{kind.path}/{visit.parameter('account_id')}/{kind.restore_verb}"
        return await _change(kind, visit, kind.stop, kind.stopped_text, undo)

    async def restore(visit: Visit) -> Response:
        return await _change(kind, visit, kind.restore, kind.restored_text)

    own = f"{kind.path}/{{account_id}}"
    return (
        page(kind.path, show_list, ADMIN),
        message_download(kind.path, f"{kind.noun}s", kind.columns, ask, f"{kind.noun}s", ADMIN),
        page(own, show_account, ADMIN),
        action(f"{own}/{kind.stop_verb}", stop, ADMIN),
        action(f"{own}/{kind.restore_verb}", restore, ADMIN),
    )


async def list_page(kind: AccountKind, visit: Visit, form: Form) -> Response:
    listed = _ask(kind, visit, kind.page_size, visit.url.page_token)
    more: Mapping[str, Any] = {}
    if kind.load_list is None:
        accounts = await listed
    else:
        accounts, more = await asyncio.gather(listed, kind.load_list(visit))
    return await visit.render(
        f"admin/{kind.noun}s.html",
        form=form,
        kind=kind,
        accounts=getattr(accounts, f"{kind.noun}s"),
        next_token=accounts.next_page_token,
        **more,
    )


async def _ask(kind: AccountKind, visit: Visit, size: int, page_token: str) -> Listed:
    standings = {"active": STANDING_ACTIVE, kind.stopped_word: kind.stopped}
    return await kind.ask(
        visit,
        page_size=size,
        page_token=page_token,
        standing=standings.get(visit.query.get("standing", ""), STANDING_UNSPECIFIED),
        query=visit.url.words,
        order_by=visit.url.order_by(kind.sorts),
    )


async def _account_page(kind: AccountKind, visit: Visit, form: Form) -> Response:
    """Profile, usage, what was done, and what is the kind's own."""
    account_id = visit.parameter("account_id")
    account = await kind.get(visit, account_id)
    whose = "consumer" if kind.noun == "consumer" else "merchant_id"
    wanted: dict[str, Any] = {whose: account_id, "group_by": usage_pb.SERVICE}
    more, report, (records, names) = await asyncio.gather(
        kind.load_account(visit),
        reports.ask_shown(visit, **wanted),
        audit_of(visit, account_id),
    )
    return await visit.render(
        f"admin/{kind.noun}.html",
        form=form,
        kind=kind,
        account=account,
        used=figures.by_group(report),
        requests=figures.trend(report),
        billable=figures.billable_trend(report),
        records=records,
        names=names,
        **more,
    )


async def _change(
    kind: AccountKind, visit: Visit, change: Change, done_text: str, undo_path: str = ""
) -> Response:
    account_id = visit.parameter("account_id")
    path = f"{kind.path}/{account_id}"
    try:
        account = await change(visit, account_id, visit.form["reason"])
    except FailedPreconditionError as error:
        # Somebody else, or a second click, has done it already: that is no fault.
        return await visit.redirect(path, Flash(error.message, "plain"))
    except AppError as error:
        return await _account_page(kind, visit, visit.form.refused(error))
    text = f"{kind.name_of(account)} {done_text}"
    return await visit.redirect(path, effect_flash(text, account, visit.zone, undo_url=undo_path))
