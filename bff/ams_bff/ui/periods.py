"""Months and days that pages offer to choose from. UTC; `now` is an argument."""

import re
from datetime import date, timedelta

_MONTH = re.compile(r"20\d\d-(?:0[1-9]|1[0-2])")


def months_before(now: date, count: int) -> list[str]:
    """The present month and those before it, `count` in all."""
    first, months = now.replace(day=1), []
    for _ in range(count):
        months.append(f"{first:%Y-%m}")
        first = (first - timedelta(days=1)).replace(day=1)
    return months


def days_of_month(month: str) -> tuple[date, date]:
    """The first and the last day of a month such as "2026-11"."""
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def month_of(text: str, otherwise: str) -> str:
    """The month that a URL names; `otherwise` for none, and for what is none."""
    return text if _MONTH.fullmatch(text) else otherwise


def day_of(text: str, otherwise: date) -> date:
    """The day that a URL names, as `month_of`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return otherwise
