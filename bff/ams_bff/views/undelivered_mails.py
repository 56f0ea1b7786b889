"""Mails that were given up, and how many wait: what an operator has to know about the mail server."""

from collections.abc import Mapping

from ams.identity.v1 import notifications_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from starlette.responses import Response

from ams_bff.http.downloads import message_download
from ams_bff.http.routing import page
from ams_bff.http.visits import Visit

PATH = "/admin/governance/mails"
_PAGE_SIZE = 25
_COLUMNS = ("given_up_at", "recipient", "kind", "given_up_for", "error", "attempts", "queued_at", "mail_id")
# What each means, and what to do.
REASONS: Mapping[str, tuple[str, str]] = {
    "refused": ("Refused", "The mail server said no for good: see its answer."),
    "too_late": (
        "Too late",
        "It couldn’t be sent while it was of use: see what the last attempt ended with.",
    ),
    "unwritable": ("Can’t be written", "The mail server takes no such address, or no such mail can be made."),
}


async def show_undelivered_mails(visit: Visit) -> Response:
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    return await visit.render(
        "admin/undelivered_mails.html",
        mails=listed.mails,
        next_token=listed.next_page_token,
        waiting=listed.waiting,
        waiting_since=listed.waiting_since,
        reasons=REASONS,
    )


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListUndeliveredMailsResponse:
    return await visit.api.notifications.ListUndeliveredMails(page_size=size, page_token=page_token)


VIEWS = (
    page(PATH, show_undelivered_mails, ADMIN),
    message_download(PATH, "undelivered-mails", _COLUMNS, _ask, "mails", ADMIN),
)
