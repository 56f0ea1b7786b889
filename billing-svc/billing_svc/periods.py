"""Billing periods: UTC calendar months as text, "2026-11". As text they sort by time."""

from datetime import datetime

from ams_common import formats


def period_of(moment: datetime) -> str:
    """The month that an aware UTC `moment` falls in."""
    return moment.strftime("%Y-%m")


def parse_period(text: str) -> str:
    """`text` itself. Raises ValueError when it is no month such as "2026-11"."""
    if not formats.MONTH.fullmatch(text):
        raise ValueError("a period is a month such as 2026-11")
    return text
