"""Messages of Kafka that a service could not apply, for an admin to decide about."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ams.dead_letters.v1 import dead_letters_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError
from starlette.responses import Response

from ams_bff.http.api import Api
from ams_bff.http.downloads import message_download
from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit

PATH = "/admin/dead-letters"
_PAGE_SIZE = 25
_STATUSES = {"waiting": pb.WAITING, "replayed": pb.REPLAYED, "dismissed": pb.DISMISSED}
_COLUMNS = (
    "dead_letter_id",
    "topic",
    "partition",
    "offset",
    "status",
    "error",
    "created_at",
    "decided_at",
    "reason",
    "content",
)


@dataclass(frozen=True, slots=True)
class Keeper:
    """A service that keeps what it couldn't apply."""

    words: str
    ask: Callable[[Api], Callable[..., Awaitable[pb.ListDeadLettersResponse]]]
    replay: Callable[[Api], Callable[..., Awaitable[pb.DeadLetter]]]
    dismiss: Callable[[Api], Callable[..., Awaitable[pb.DeadLetter]]]


KEEPERS: Mapping[str, Keeper] = {
    "usage": Keeper(
        "Calls that aren’t counted",
        lambda api: api.usage.ListUsageDeadLetters,
        lambda api: api.usage.ReplayUsageDeadLetter,
        lambda api: api.usage.DismissUsageDeadLetter,
    ),
    "billing": Keeper(
        "Usage that isn’t billed",
        lambda api: api.billing.ListBillingDeadLetters,
        lambda api: api.billing.ReplayBillingDeadLetter,
        lambda api: api.billing.DismissBillingDeadLetter,
    ),
}


async def show_dead_letters(visit: Visit) -> Response:
    """Those that one service keeps; how many wait in each."""
    name = _chosen(visit.query.get("of", ""))
    others = [other for other in KEEPERS if other != name]
    counting = [visit.or_none_if_down(KEEPERS[other].ask(visit.api)(page_size=1)) for other in others]
    listed, counted = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token), asyncio.gather(*counting)
    )
    waiting = {name: listed.waiting} | {
        other: answer.waiting if answer else None for other, answer in zip(others, counted, strict=True)
    }
    return await visit.render(
        "admin/dead_letters.html",
        keepers=KEEPERS,
        chosen=name,
        waiting=waiting,
        pb=pb,
        letters=listed.dead_letters,
        next_token=listed.next_page_token,
    )


async def replay(visit: Visit) -> Response:
    """Tries it again, now."""
    name, letter_id = _keeper_in_path(visit), visit.parameter("dead_letter_id")
    try:
        await KEEPERS[name].replay(visit.api)(dead_letter_id=letter_id)
        flash = Flash("The message is applied.")
    except FailedPreconditionError as error:
        flash = Flash(f"It still can't be applied. {error.message}", "bad")
    except NotFoundError:
        flash = Flash("Somebody has decided about it already.", "plain")
    return await visit.redirect(f"{PATH}?of={name}", flash)


async def dismiss(visit: Visit) -> Response:
    """For good, with a reason, which the audit log keeps."""
    name, letter_id, form = _keeper_in_path(visit), visit.parameter("dead_letter_id"), visit.form
    try:
        if not form["reason"]:
            form.refuse("reason", "is required: what is dismissed is never counted")
        form.check()
        await KEEPERS[name].dismiss(visit.api)(dead_letter_id=letter_id, reason=form["reason"])
        flash = Flash("The message is dismissed.")
    except NotFoundError:
        flash = Flash("Somebody has decided about it already.", "plain")
    except AppError as error:
        form.refused(error)
        message = form.message or " ".join(form.error_text(field) for field in form.errors)
        flash = Flash(f"Nothing was dismissed. {message}", "bad")
    return await visit.redirect(f"{PATH}?of={name}", flash)


def _chosen(name: str) -> str:
    return name if name in KEEPERS else next(iter(KEEPERS))


def _keeper_in_path(visit: Visit) -> str:
    name = visit.parameter("keeper")
    if name not in KEEPERS:
        raise NotFoundError("no_such_keeper", "There is no such service.")
    return name


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListDeadLettersResponse:
    keeper = KEEPERS[_chosen(visit.query.get("of", ""))]
    status = _STATUSES.get(visit.query.get("status", ""), pb.DEAD_LETTER_STATUS_UNSPECIFIED)
    return await keeper.ask(visit.api)(page_size=size, page_token=page_token, status=status)


VIEWS = (
    page(PATH, show_dead_letters, ADMIN),
    message_download(PATH, "dead-letters", _COLUMNS, _ask, "dead_letters", ADMIN),
    action(f"{PATH}/{{keeper}}/{{dead_letter_id}}/replay", replay, ADMIN),
    action(f"{PATH}/{{keeper}}/{{dead_letter_id}}/dismiss", dismiss, ADMIN),
)
