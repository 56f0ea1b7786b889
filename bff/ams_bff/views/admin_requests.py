"""Everything that waits for an admin in one list, to decide about several at once."""

import asyncio
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.revision_pb2 import ServiceRevision
from ams.identity.v1.events_pb2 import STANDING_BLOCKED
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import (
    AbortedError,
    AppError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.admin_queue import Waiting, load_waiting
from ams_bff.views.naming import Names, name_of, service_names
from ams_bff.views.usage_names import labels_of

PATH = "/admin/requests"
SHOWN = 100
_MOST_BLOCKED = 200
_VERSION = re.compile(r"[0-9]{1,18}")
_ETAG = re.compile(r"[0-9a-f]{1,64}")
# In the URL, and what the list is narrowed down to.
KINDS: Mapping[str, str] = {"service": "Services", "change": "Changes", "access": "Access"}
_DECIDED_ALREADY = "It was decided or taken back meanwhile."


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that waits. `mark`: what the form calls it; with the etag of a service, or the version of a
    change, that is shown, so that none is approved unseen. `by`: who wants it, and `by_href` their page."""

    mark: str
    kind: str
    title: str
    href: str
    by: str
    by_href: str
    since: Timestamp
    note: str = ""
    # Names of the fields that a change is about.
    fields: Sequence[str] = ()
    # Whether the consumer who asks is blocked.
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a decision about several. `refusals`: what went wrong, by the thing's name; `untried`: how
    many weren't tried any more, for a service was away."""

    done: int = 0
    refusals: list[tuple[str, str]] = field(default_factory=list)
    untried: int = 0


async def show_requests(visit: Visit, form: Form | None = None, outcome: Outcome | None = None) -> Response:
    """The oldest first; with what was chosen and what came of it."""
    waiting = await load_waiting(visit)
    kind = visit.query.get("kind", "")
    requests = sorted(await _requests_of(visit, waiting), key=lambda one: one.since.ToDatetime())
    chosen = [one for one in requests if kind not in KINDS or one.kind == kind]
    return await visit.render(
        "admin/requests.html",
        form=form or Form(),
        outcome=outcome,
        requests=chosen[:SHOWN],
        count=len(chosen),
        is_all=waiting.is_all,
        kinds=KINDS,
    )


async def decide_requests(visit: Visit) -> Response:
    """Approves or rejects what is chosen, one after the other: each is decided for itself, with its own
    record in the audit log, and says for itself why it could not be."""
    form = visit.form
    is_approval, marks = form["decision"] == "approve", form.all("request")
    try:
        if form["decision"] not in ("approve", "refuse"):
            raise InvalidArgumentError("decision_unknown", "Nothing was decided: press one of the buttons.")
        if not marks:
            raise InvalidArgumentError(
                "nothing_chosen", "Nothing was decided: tick what the decision is for."
            )
        if not is_approval and not form["reason"]:
            form.refuse("reason", "is required to reject: whoever asked reads it")
        form.check()
    except AppError as error:
        return await show_requests(visit, form.refused(error))
    titles = {_thing(one.mark): one.title for one in await _requests_of(visit, await load_waiting(visit))}
    outcome, kept = await _decide_each(visit, marks, titles, is_approval=is_approval, reason=form["reason"])
    if not kept:
        verb = "approved" if is_approval else "rejected"
        things = "One request is" if outcome.done == 1 else f"{outcome.done:,} requests are"
        return await visit.redirect(visit.url.beside(PATH), f"{things} {verb}.")
    form.values["request"] = kept
    form.status = FailedPreconditionError.http_status
    return await show_requests(visit, form, outcome)


async def _decide_each(
    visit: Visit, marks: Sequence[str], titles: Mapping[str, str], *, is_approval: bool, reason: str
) -> tuple[Outcome, list[str]]:
    """What came of it, and the marks of what isn't decided."""
    refusals: list[tuple[str, str]] = []
    kept: list[str] = []
    for number, mark in enumerate(marks):
        title = titles.get(_thing(mark), "Something that doesn’t wait any more")
        try:
            await _decide(visit, mark, is_approval=is_approval, reason=reason)
        except (UnavailableError, DeadlineExceededError):
            # The others would wait for it as long, one after the other.
            refusals.append((title, "A part of AMS is not reachable, so this may not have been done."))
            untried = len(marks) - number - 1
            return Outcome(number - len(kept), refusals, untried), [*kept, *marks[number:]]
        except NotFoundError:
            refusals.append((title, _DECIDED_ALREADY))
            kept.append(mark)
        except (AbortedError, FailedPreconditionError, InvalidArgumentError) as error:
            refusals.append((title, error.message))
            kept.append(mark)
    return Outcome(len(marks) - len(kept), refusals), kept


async def _decide(visit: Visit, mark: str, *, is_approval: bool, reason: str) -> None:
    """Raises InvalidArgumentError for a mark that no list has shown."""
    match mark.split("/"):
        case ["service", service_id, etag] if _ETAG.fullmatch(etag):
            catalog = visit.api.catalog
            decide_service = catalog.ApproveService if is_approval else catalog.RejectService
            await decide_service(service_id=service_id, reason=reason, etag=etag)
        case ["change", service_id, revision_id, version] if _VERSION.fullmatch(version):
            revisions = visit.api.revisions
            decide_change = revisions.ApproveRevision if is_approval else revisions.RejectRevision
            await decide_change(
                service_id=service_id, revision_id=revision_id, version=int(version), reason=reason
            )
        case ["access", access_request_id]:
            decide_access = visit.api.keys.ApproveAccess if is_approval else visit.api.keys.DenyAccess
            await decide_access(access_request_id=access_request_id, reason=reason)
        case _:
            raise InvalidArgumentError("request_unknown", "There is no such request.")


def _thing(mark: str) -> str:
    """Which of all that waits it names, in whichever state."""
    return mark if mark.startswith("access/") else mark.rpartition("/")[0]


async def _requests_of(visit: Visit, waiting: Waiting) -> list[Request]:
    """With names: a call for each kind of them, however many there are."""
    asked = waiting.requests
    services, consumers, blocked = await asyncio.gather(
        service_names(visit, (one.service_id for one in asked)),
        labels_of(visit, "consumer", [one.consumer_id for one in asked]),
        _blocked_consumers(visit),
    )
    return [
        *map(_of_service, waiting.services),
        *map(_of_change, waiting.revisions),
        *(_of_access(one, services, consumers[one.consumer_id], blocked) for one in asked),
    ]


def _of_service(service: catalog_pb.Service) -> Request:
    return Request(
        f"service/{service.service_id}/{service.etag}",
        "service",
        service.name,
        f"/admin/services/{service.service_id}",
        service.merchant_name or "a merchant",
        f"/admin/merchants/{service.merchant_id}",
        service.updated_at,
        service.description,
    )


def _of_change(revision: ServiceRevision) -> Request:
    return Request(
        f"change/{revision.service_id}/{revision.revision_id}/{revision.version}",
        "change",
        revision.service_name,
        f"/admin/services/{revision.service_id}#revision",
        revision.merchant_name or "a merchant",
        f"/admin/merchants/{revision.merchant_id}",
        revision.created_at,
        fields=[change.field for change in revision.changes],
    )


def _of_access(
    asked: keys_pb.AccessRequest, services: Names | None, consumer: str, blocked: Container[str]
) -> Request:
    return Request(
        f"access/{asked.access_request_id}",
        "access",
        name_of(services, asked.service_id),
        f"/admin/services/{asked.service_id}",
        consumer,
        f"/admin/consumers/{asked.consumer_id}",
        asked.requested_at,
        asked.note,
        is_blocked=asked.consumer_id in blocked,
    )


async def _blocked_consumers(visit: Visit) -> set[str]:
    """The newest: of an older one its own page says so."""
    asked = visit.api.identity.ListConsumers(page_size=_MOST_BLOCKED, standing=STANDING_BLOCKED)
    listed = await visit.or_none_if_down(asked)
    return {consumer.consumer_id for consumer in listed.consumers} if listed else set()


VIEWS = (page(PATH, show_requests, ADMIN), action(PATH, decide_requests, ADMIN))
