"""How values are shown: Jinja filters. Times stand in the reader's zone, big numbers short; the exact
value is always within reach."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ams_common.money import to_decimal
from ams_rating.currencies import MINOR_UNIT_DIGITS
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from markupsafe import Markup

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CHF": "CHF "}
_STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
# What the names of an enum's values begin with, beside those that begin with nothing.
_ENUM_PREFIXES = {
    "ImageStatus": "IMAGE_",
    "InviteState": "INVITE_",
    "InvoiceRunStatus": "RUN_",
    "InvoiceStatus": "INVOICE_",
    "KeyStatus": "KEY_",
    "LicenseModel": "LICENSE_",
    "ProjectRole": "PROJECT_",
    "PushTokenStatus": "PUSH_TOKEN_",
    "ServiceStatus": "SERVICE_",
    "Standing": "STANDING_",
}
_SLASH = re.compile("(?<!/)/(?!/)")
_UUID = re.compile(r"\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
_BYTE_STEPS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def money(amount: Money) -> str:
    """With at least the currency's own decimals, and as many as it has: "€0.0005"."""
    return money_of(to_decimal(amount), amount.currency_code)


def money_of(amount: Decimal, currency: str) -> str:
    """Shows an exact amount as `money` shows a message."""
    digits = max(MINOR_UNIT_DIGITS.get(currency, 2), -int(amount.normalize().as_tuple().exponent))
    sign = "−" if amount < 0 else ""
    return f"{sign}{_SYMBOLS.get(currency, currency + ' ')}{abs(amount):,.{digits}f}"


def number(value: float | None) -> str:
    """In full, with thousands apart: "12,345"; a dash for what isn't known."""
    return "–" if value is None else f"{value:,}".replace("-", "−")


def short(value: float) -> str:
    return _scaled(value, _STEPS, "")


def size(size_bytes: float) -> Markup:
    """ "1.2 MB", with the exact number on hover."""
    text = _scaled(size_bytes, _BYTE_STEPS, " B", space=" ")
    if size_bytes < _BYTE_STEPS[-1][0]:
        return Markup("<span>{}</span>").format(text)
    return Markup('<span title="{} bytes">{}</span>').format(number(size_bytes), text)


def _scaled(value: float, steps: tuple[tuple[int, str], ...], small: str, space: str = "") -> str:
    for factor, suffix in steps:
        if abs(value) >= factor:
            scaled = Decimal(value) / factor
            digits = 0 if abs(scaled) >= 100 else 1
            text = f"{scaled.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN):f}"
            return f"{text.removesuffix('.0')}{space}{suffix}"
    return f"{value:,.0f}{small}"


def count(value: float | None) -> Markup:
    """Short, with the exact number on hover."""
    if value is None or abs(value) < 10_000:
        return Markup("<span>{}</span>").format(number(value))
    return Markup('<span title="{}">{}</span>').format(number(value), short(value))


def breakable(text: str) -> Markup:
    """An address or a path that may break after its slashes before it breaks anywhere."""
    return Markup("/<wbr>").join(_SLASH.split(text))


def short_ids(text: str) -> Markup:
    """UUIDs by their ends, the whole on hover."""
    parts = _UUID.split(text)
    short = Markup('<code class="nowrap" title="{0}">{1}…{2}</code>')
    return Markup("").join(
        short.format(part, part[:8], part[-4:]) if place % 2 else part for place, part in enumerate(parts)
    )


def counted(value: int, noun: str) -> str:
    """ "1 request", "12,345 requests"."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def duration(seconds: int) -> str:
    """In the largest unit that needs no fraction: "1 hour", "5 minutes", "90 seconds"."""
    for length_s, unit in ((3600, "hour"), (60, "minute")):
        if seconds and seconds % length_s == 0:
            return counted(seconds // length_s, unit)
    return counted(seconds, "second")


def moment(value: Timestamp | datetime) -> datetime | None:
    """Aware, in UTC; None for an unset timestamp."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value.ToDatetime(tzinfo=UTC) if value.seconds or value.nanos else None


def shown_time(value: Timestamp | datetime, zone: ZoneInfo, form: str = "%-d %b %Y, %H:%M") -> Markup:
    """A <time> in the reader's zone, UTC on hover; a dash for an unset one."""
    at = moment(value)
    if at is None:
        return Markup("<span>–</span>")
    local = at.astimezone(zone)
    text = local.strftime(form) + (" UTC" if zone.key == "UTC" and "%H" in form else "")
    utc = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), utc, text)


def ago(value: Timestamp | datetime, now: datetime) -> Markup:
    """ "5 minutes ago", "in 3 days"; UTC on hover."""
    at = moment(value)
    if at is None:
        return Markup("<span>–</span>")
    utc = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), utc, _span(now, at))


def _span(now: datetime, at: datetime) -> str:
    distance_s = int((at - now).total_seconds())
    for length_s, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if units := abs(distance_s) // length_s:
            text = counted(units, unit)
            return f"in {text}" if distance_s > 0 else f"{text} ago"
    return "in a moment" if distance_s > 0 else "just now"


def month(text: str) -> str:
    """ "2026-11" as "November 2026"."""
    return date.fromisoformat(f"{text}-01").strftime("%B %Y")


def utc_day(text: str) -> str:
    """ "2026-11-29" as "29 Nov 2026"; a dash for none."""
    return f"{date.fromisoformat(text):%-d %b %Y}" if text else "–"


def span(first_day: str, last_day: str) -> str:
    """Days, both with: "November 2026" for a whole month, else "1–12 Nov 2026" or "28 Oct – 2 Nov 2026"."""
    first, last = date.fromisoformat(first_day), date.fromisoformat(last_day)
    is_month = first.day == 1 and (last + timedelta(days=1)).day == 1
    if (first.year, first.month) == (last.year, last.month):
        if is_month:
            return f"{first:%B %Y}"
        return f"{last:%-d %b %Y}" if first == last else f"{first:%-d}–{last:%-d %b %Y}"
    return (
        f"{first:%-d %b} – {last:%-d %b %Y}"
        if first.year == last.year
        else f"{utc_day(first_day)} – {utc_day(last_day)}"
    )


def decimal(text: str) -> str:
    """An exact decimal with thousands apart: "1234.500003" as "1,234.500003"."""
    return f"{Decimal(text):,f}" if text else "–"


def enum_label(value: int, enum: Any) -> str:
    """A value of one of the contracts' enums in words: KEY_ACTIVE of KeyStatus is "Active"."""
    return value_words(enum.DESCRIPTOR.name, enum.Name(value))


def value_words(enum: str, name: str) -> str:
    """As `enum_label`, of an enum's and a value's name."""
    return name.removeprefix(_ENUM_PREFIXES.get(enum, "")).replace("_", " ").capitalize()
