"""How often anybody has tried to sign in, by hour and by what became of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ams.identity.v1 import session_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import from_timestamp, utc_now
from starlette.responses import Response

from ams_bff.http.api import pages
from ams_bff.http.downloads import message_download
from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.formats import shown_time
from ams_bff.usage.figures import Row

PATH = "/admin/governance/sign-ins"
_COLUMNS = ("hour", "outcome", "count")
_PAGE_SIZE = 200
# By what stands in the URL: how many hours are shown, the one that goes on with them, and in words.
_SPANS: Mapping[str, tuple[int, str]] = {"": (48, "the last 48 hours"), "7d": (7 * 24, "the last 7 days")}
# The chart's lines: what each is called, its tone, and the outcomes that it sums up.
_LINES: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("Signed in", "good", ("signed_in",)),
    ("Code mailed", "info", ("code_mailed",)),
    ("Asked again", "plain", ("code_asked_again",)),
    ("Wrong code", "warn", ("code_wrong",)),
    ("Refused", "bad", ("ask_refused", "guess_refused")),
)
# Every outcome, what it is called and what it means.
OUTCOMES: Mapping[str, tuple[str, str]] = {
    "signed_in": ("Signed in", "The mailed code was given back."),
    "code_mailed": ("Code mailed", "Asked for. Addresses without an account count too, and get no mail."),
    "code_asked_again": (
        "Asked again",
        "While a code was good, beyond the allowance of mails: none was sent.",
    ),
    "code_wrong": ("Wrong code", "Or one that was used or too old."),
    "ask_refused": ("Asking refused", "Too many codes were asked for from one network, or in all."),
    "guess_refused": (
        "Guessing refused",
        "Too many wrong codes, for an account, from one network or in all.",
    ),
}


async def show_sign_ins(visit: Visit) -> Response:
    hours, words = _SPANS.get(visit.query.get("range", ""), _SPANS[""])
    this_hour = utc_now().replace(minute=0, second=0, microsecond=0)
    starts = [this_hour - timedelta(hours=ago) for ago in reversed(range(hours))]
    counts = await _count_since(visit, starts[0])
    totals = {outcome: sum(counts[start, outcome] for start in starts) for outcome in OUTCOMES}
    return await visit.render(
        "admin/sign_ins.html",
        words=words,
        names=[name for name, _, _ in _LINES],
        tones=[tone for _, tone, _ in _LINES],
        rows=[_row(visit, start, counts) for start in starts],
        outcomes=OUTCOMES,
        totals=totals,
        refused=totals["ask_refused"] + totals["guess_refused"],
    )


def _row(visit: Visit, start: datetime, counts: Counter[tuple[datetime, str]]) -> Row:
    values = [sum(counts[start, outcome] for outcome in outcomes) for _, _, outcomes in _LINES]
    return int(start.timestamp()), shown_time(start, visit.zone, "%-d %b, %H:%M"), values


async def _count_since(visit: Visit, first: datetime) -> Counter[tuple[datetime, str]]:
    """The tries of each hour from the first on, by outcome."""
    counts: Counter[tuple[datetime, str]] = Counter()

    async def ask(token: str) -> pb.ListSignInTriesResponse:
        return await _ask(visit, _PAGE_SIZE, token)

    async for listed in pages(ask):
        for tries in listed.tries:
            counts[from_timestamp(tries.hour), tries.outcome] += tries.count
        # The newest come first.
        if listed.tries and from_timestamp(listed.tries[-1].hour) < first:
            break
    return counts


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListSignInTriesResponse:
    return await visit.api.sessions.ListSignInTries(page_size=size, page_token=page_token)


VIEWS = (
    page(PATH, show_sign_ins, ADMIN),
    message_download(PATH, "sign-ins", _COLUMNS, _ask, "tries", ADMIN),
)
