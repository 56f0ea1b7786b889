"""Values as pages show them: short, with the exact one within reach."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from ams_bff.ui.formats import ago, breakable, count, counted, short_ids, shown_time, size

AT = datetime(2026, 11, 22, 23, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (12345, "12,345 keys")]
)
def test_one_is_no_plural(value: int, text: str) -> None:
    assert counted(value, "key") == text


def test_big_numbers_and_sizes_carry_the_exact_one() -> None:
    assert count(9_999) == "<span>9,999</span>"
    assert count(12_345) == '<span title="12,345">12.3k</span>'
    assert size(999) == "<span>999 B</span>"
    assert size(1_234_567) == '<span title="1,234,567 bytes">1.2 MB</span>'


def test_times_stand_in_the_readers_zone_with_utc_on_hover() -> None:
    shown = shown_time(AT, ZoneInfo("Asia/Tokyo"), "%-d %b %Y, %H:%M:%S")
    assert ">23 Nov 2026, 08:30:05<" in shown
    assert 'title="2026-11-22 23:30:05 UTC"' in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "just now"), (-60, "1 minute ago"), (-7200, "2 hours ago"), (86400, "in 1 day")],
)
def test_distances_in_time_are_counted_too(seconds: int, text: str) -> None:
    assert f">{text}<" in ago(AT + timedelta(seconds=seconds), AT)


def test_addresses_break_after_their_slashes_and_nothing_in_them_becomes_markup() -> None:
    assert breakable("https://a.example/v1/<b>") == "https://a.example/<wbr>v1/<wbr>&lt;b&gt;"
    assert breakable("registry/numbers:1") == "registry/<wbr>numbers:1"


def test_ids_are_shown_by_their_ends_and_the_rest_stays() -> None:
    identity = "01a21ae6-f0bf-7ef1-a9a9-e88e4d4e40cb"
    shown = '<code class="nowrap" title="01a21ae6-f0bf-7ef1-a9a9-e88e4d4e40cb">01a21ae6…40cb</code>'
    assert short_ids(f"<i> {identity},x") == f"&lt;i&gt; {shown},x"
    assert short_ids("sha256:0123") == "sha256:0123"
