"""What somebody was told, and by which ways they want to be."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from ams.identity.v1 import notifications_service_pb2 as pb
from ams_common.clock import from_timestamp, to_timestamp, utc_now
from ams_common.errors import AppError, InvalidArgumentError
from starlette.responses import PlainTextResponse, Response

from ams_bff.http.routing import View, action, page
from ams_bff.http.visits import Visit, safe_path
from ams_bff.ui.forms import Form

PATH = "/notifications"
_CHOICES = "/settings/notifications"
_PAGE_SIZE = 50
# What a category is called, and what comes in it.
CATEGORIES: Mapping[int, tuple[str, str]] = {
    pb.NOTIFY_SECURITY: ("Security", "Keys found in public, and an account that is stopped or free again."),
    pb.NOTIFY_BILLING: ("Billing", "Invoices, credit notes, and prices that will change."),
    pb.NOTIFY_ACCESS: ("Access", "Requests for access, what was decided, access and licences that end."),
    pb.NOTIFY_LISTINGS: ("Services", "Services and changes that wait for approval, and what was decided."),
    pb.NOTIFY_KEYS: ("API keys", "Keys that expire soon."),
    pb.NOTIFY_ALERTS: ("Alerts", "Thresholds of yours that were reached."),
    pb.NOTIFY_REPORTS: ("Reports", "Reports that are ready, and those shared with you."),
    pb.NOTIFY_PROJECTS: ("Projects", "Invitations, and who joins, leaves or owns a project."),
}


async def show_notifications(visit: Visit) -> Response:
    """The newest first, by the days of the reader's zone."""
    category = visit.query.get("category", "")
    known = {str(number) for number in CATEGORIES}
    answer = await visit.api.notifications.ListNotifications(
        page_size=_PAGE_SIZE,
        page_token=visit.url.page_token,
        unread_only=visit.query.get("show") == "unread",
        category=pb.NotificationCategory.ValueType(int(category) if category in known else 0),
    )
    unread = (await visit.api.notifications.GetUnreadCount()).unread
    _learn(visit, unread)
    return await visit.render(
        "notifications/list.html",
        days=list(by_day(answer.notifications, visit.zone)),
        categories=CATEGORIES,
        unread=unread,
        next_token=answer.next_page_token,
        # What comes between this page and the button isn't read by it.
        now=utc_now().isoformat(),
    )


def by_day(
    notifications: Iterable[pb.UserNotification], zone: ZoneInfo
) -> Iterator[tuple[datetime, list[pb.UserNotification]]]:
    """A moment of each day in the zone, with what came on it, in the order given."""

    def day_of(notification: pb.UserNotification) -> datetime:
        came_at = from_timestamp(notification.created_at).astimezone(zone)
        return came_at.replace(hour=0, minute=0, second=0, microsecond=0)

    for day, together in groupby(notifications, day_of):
        yield day, list(together)


async def show_unread(visit: Visit) -> Response:
    """The number alone, for the bell."""

    async def ask() -> int:
        return (await visit.api.notifications.GetUnreadCount()).unread

    assert visit.session.person is not None, "a view for who is signed in"
    unread = await visit.unread_counts.fresh(visit.session.person.user_id, ask)
    return PlainTextResponse(str(unread), headers={"cache-control": "no-store"})


async def mark_read(visit: Visit) -> Response:
    marked = await visit.api.notifications.MarkRead(notification_ids=visit.form.all("notification_id"))
    _learn(visit, marked.unread)
    return await visit.redirect(_back(visit))


async def mark_all_read(visit: Visit) -> Response:
    try:
        until = to_timestamp(datetime.fromisoformat(visit.form["until"]))
    except (ValueError, TypeError):
        raise InvalidArgumentError("form_invalid", "This form can't be read.") from None
    marked = await visit.api.notifications.MarkAllRead(until=until)
    _learn(visit, marked.unread)
    return await visit.redirect(_back(visit), "All are marked as read.")


def _back(visit: Visit) -> str:
    """The list as it was narrowed."""
    path = safe_path(visit.form["back"]) or PATH
    return path if path.partition("?")[0] == PATH else PATH


def _learn(visit: Visit, unread: int) -> None:
    assert visit.session.person is not None, "a view for who is signed in"
    visit.unread_counts.learn(visit.session.person.user_id, unread)


async def show_choices(visit: Visit, form: Form | None = None) -> Response:
    answer = await visit.api.notifications.GetChoices()
    return await visit.render(
        "settings/notifications.html", form=form or Form(), choices=answer.choices, categories=CATEGORIES
    )


async def choose(visit: Visit) -> Response:
    """A box that isn't ticked isn't sent: what is asked for is what the page shows."""
    form = visit.form
    by_mail, in_app, shown = (frozenset(form.all(name)) for name in ("mail", "app", "shown"))
    choices = [
        pb.NotificationChoice(
            category=category, by_mail=str(category) in by_mail, in_app=str(category) in in_app
        )
        for number in CATEGORIES
        if str(number) in shown
        for category in (pb.NotificationCategory.ValueType(number),)
    ]
    try:
        await visit.api.notifications.UpdateChoices(choices=choices)
    except AppError as error:
        return await show_choices(visit, form.refused(error))
    return await visit.redirect(_CHOICES, "Your choices are kept.")


async def show_unsubscribing(visit: Visit) -> Response:
    """Asks first: mail programs open links to look what is behind them."""
    token = visit.parameter("token")
    answer = await visit.api.notifications.GetUnsubscription(token=token)
    return await visit.render(
        "notifications/unsubscribe.html", category=CATEGORIES[answer.category], is_done=False
    )


async def unsubscribe(visit: Visit) -> Response:
    """Also what a mail program's own button sends (RFC 8058), with no page of ours before."""
    answer = await visit.api.notifications.Unsubscribe(token=visit.parameter("token"))
    return await visit.render(
        "notifications/unsubscribe.html", category=CATEGORIES[answer.category], is_done=True
    )


VIEWS = (
    page(PATH, show_notifications, is_for_members=True),
    page(f"{PATH}/unread", show_unread, is_for_members=True),
    action(f"{PATH}/read", mark_read, is_for_members=True),
    action(f"{PATH}/read-all", mark_all_read, is_for_members=True),
    page(_CHOICES, show_choices, is_for_members=True),
    action(_CHOICES, choose, is_for_members=True),
    page("/unsubscribe/{token}", show_unsubscribing),
    View("POST", "/unsubscribe/{token}", unsubscribe, is_proven_by_path=True),
)
