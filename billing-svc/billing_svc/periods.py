"""Billing periods: UTC calendar months as text, "2026-11". As text they sort by time."""

import re
from datetime import datetime

_PERIOD = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")


def period_of(moment: datetime) -> str:
    """The month that an aware UTC `moment` falls in."""
    return moment.strftime("%Y-%m")


def parse_period(text: str) -> str:
    """`text` when it is a month. Raises ValueError."""
    if not _PERIOD.fullmatch(text):
        raise ValueError("a period is a month such as 2026-11")
    return text
