"""Billing periods: UTC calendar months as text, "2026-11", which as text sort by time; and UTC days."""

from datetime import UTC, date, datetime, timedelta

from ams_common import formats


def period_of(moment: datetime) -> str:
    """The month that an aware UTC `moment` falls in."""
    return moment.strftime("%Y-%m")


def month_of(day: date) -> str:
    """The month that `day` falls in."""
    return day.isoformat()[:7]


def first_day_of(month: str) -> date:
    """The first day of a month such as "2026-11"."""
    return date.fromisoformat(f"{month}-01")


def last_day_of(month: str) -> date:
    """The last day of a month such as "2026-11"."""
    return (first_day_of(month) + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def month_before(month: str) -> str:
    """The month before one such as "2026-11"."""
    return month_of(first_day_of(month) - timedelta(days=1))


def months_between(first_day: date, last_day: date) -> list[str]:
    """The months that days fall in, from the first to the last."""
    first, last = (day.year * 12 + day.month - 1 for day in (first_day, last_day))
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(first, last + 1)]


def day_of(moment: datetime) -> date:
    """The UTC day of an aware moment."""
    return moment.astimezone(UTC).date()


def parse_period(text: str) -> str:
    """`text` itself. Raises ValueError when it is no month such as "2026-11"."""
    if not formats.MONTH.fullmatch(text):
        raise ValueError("a period is a month such as 2026-11")
    return text


def parse_day(text: str) -> date:
    """Raises ValueError when it is no day such as "2026-11-29"."""
    if not formats.DATE.fullmatch(text):
        raise ValueError("a day is one such as 2026-11-29")
    return date.fromisoformat(text)
