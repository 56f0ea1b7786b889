"""Messages of Kafka that a service could not apply, for an admin to decide about."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ams.dead_letters.v1 import dead_letters_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError
from starlette.responses import Response

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
    """A service that keeps what it couldn't apply: its label, what isn't done while a message waits, and what
    never is once it is dismissed."""

    label: str
    waiting: str
    dismissed: str


KEEPERS: Mapping[str, Keeper] = {
    "usage": Keeper(
        "Usage",
        "Calls that aren’t counted, and so not billed.",
        "The calls that it tells of are never counted, and so never billed.",
    ),
    "billing": Keeper(
        "Billing",
        "Usage that isn’t billed, and prices and names that invoices don’t know.",
        "What it tells of is never billed; a price or a name stays unknown to invoices.",
    ),
    "identity": Keeper(
        "Identity",
        "Audit records that aren’t in the log, and notifications that nobody has got.",
        "It never comes into the audit log, or to whom it was to tell something.",
    ),
    "catalog": Keeper(
        "Catalog",
        "Names and standings of merchants that the marketplace doesn’t know.",
        "The marketplace goes on with what it knows of the merchant.",
    ),
    "keys": Keeper(
        "Keys",
        "Standings of consumers and projects that keys don’t follow, and prices that nobody was told of.",
        "Keys go on with what is known so far, and nobody is told of a price.",
    ),
    "registry": Keeper(
        "Registry",
        "Names of merchants and members of projects that the registry doesn’t know.",
        "The registry goes on with what it knows so far.",
    ),
}


async def show_dead_letters(visit: Visit) -> Response:
    """Those that one service keeps; how many wait in each."""
    chosen = _chosen(visit)
    asked = [
        _ask(visit, _PAGE_SIZE, visit.url.page_token)
        if keeper == chosen
        else visit.api.dead_letters_of(keeper).ListDeadLetters(keeper=keeper, page_size=1)
        for keeper in KEEPERS
    ]
    listed = await asyncio.gather(*map(visit.or_none_if_down, asked))
    answers = dict(zip(KEEPERS, listed, strict=True))
    return await visit.render(
        "admin/dead_letters.html",
        keepers=KEEPERS,
        chosen=chosen,
        waiting={
            keeper: answer.waiting if answer is not None else None for keeper, answer in answers.items()
        },
        listed=answers[chosen],
        pb=pb,
    )


async def replay(visit: Visit) -> Response:
    """Tries it again, now."""
    keeper, letter_id = _keeper_in_path(visit), visit.parameter("dead_letter_id")
    try:
        client = visit.api.dead_letters_of(keeper)
        await client.ReplayDeadLetter(keeper=keeper, dead_letter_id=letter_id)
        flash = Flash("The message is applied.")
    except FailedPreconditionError as error:
        flash = Flash(error.message, "bad")
    except NotFoundError:
        flash = Flash("Somebody has decided about it already.", "plain")
    return await visit.redirect(f"{PATH}?of={keeper}", flash)


async def dismiss(visit: Visit) -> Response:
    """For good, with a reason, which the audit log keeps."""
    keeper, letter_id, form = _keeper_in_path(visit), visit.parameter("dead_letter_id"), visit.form
    try:
        if not form["reason"]:
            form.refuse("reason", "is required: what is dismissed is never applied")
        form.check()
        client = visit.api.dead_letters_of(keeper)
        await client.DismissDeadLetter(keeper=keeper, dead_letter_id=letter_id, reason=form["reason"])
        flash = Flash("The message is dismissed.")
    except NotFoundError:
        flash = Flash("Somebody has decided about it already.", "plain")
    except AppError as error:
        form.refused(error)
        message = form.message or " ".join(form.error_text(field) for field in form.errors)
        flash = Flash(f"Nothing was dismissed. {message}", "bad")
    return await visit.redirect(f"{PATH}?of={keeper}", flash)


def _chosen(visit: Visit) -> str:
    keeper = visit.query.get("of", "")
    return keeper if keeper in KEEPERS else next(iter(KEEPERS))


def _keeper_in_path(visit: Visit) -> str:
    keeper = visit.parameter("keeper")
    if keeper not in KEEPERS:
        raise NotFoundError("keeper_not_found", "There is no such service.")
    return keeper


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListDeadLettersResponse:
    keeper = _chosen(visit)
    status = _STATUSES.get(visit.query.get("status", ""), pb.DEAD_LETTER_STATUS_UNSPECIFIED)
    return await visit.api.dead_letters_of(keeper).ListDeadLetters(
        keeper=keeper, page_size=size, page_token=page_token, status=status
    )


VIEWS = (
    page(PATH, show_dead_letters, ADMIN),
    message_download(PATH, "dead-letters", _COLUMNS, _ask, "dead_letters", ADMIN),
    action(f"{PATH}/{{keeper}}/{{dead_letter_id}}/replay", replay, ADMIN),
    action(f"{PATH}/{{keeper}}/{{dead_letter_id}}/dismiss", dismiss, ADMIN),
)
