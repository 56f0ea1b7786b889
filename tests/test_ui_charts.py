"""Charts name the days that their bars are of, wherever the reader is."""

import re
import secrets
from typing import Any

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from playwright.async_api import Browser, Page, expect
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import open_window
from support.trade import Trade, consume, open_trade
from support.upstream_api import Upstream

# Keeps what is written on a canvas, and where.
_KEEP_TEXTS = """
  window.written = [];
  const write = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    const { e } = this.getTransform();
    window.written.push({ text, x: place[0] + e });
    return write.call(this, text, ...place);
  };"""
# Words along the time axis, and how far from its own day each stands, in days.
_DAYS = """() => {
  const rows = [...document.querySelectorAll("tr[data-x]")].map((row) => ({
    at: Number(row.dataset.x), day: row.querySelector("th").textContent.replace(/ [0-9]{4}$/, "") }));
  const canvas = document.querySelector(".uplot canvas"), over = document.querySelector(".u-over");
  const scale = canvas.width / canvas.getBoundingClientRect().width;
  const left = over.getBoundingClientRect().left - canvas.getBoundingClientRect().left;
  const isBars = document.querySelector("[data-chart]").dataset.kind === "bars";
  const day_px = over.getBoundingClientRect().width / (isBars ? rows.length : rows.length - 1);
  return window.written.filter(({ text }) => /^[0-9]+ [A-Z][a-z]+$/.test(text)).map(({ text, x }) => {
    const index = rows.findIndex(({ day }) => day === text);
    return { text, off: index < 0 ? null : (x / scale - left) / day_px - index - (isBars ? 0.5 : 0) };
  });
}"""


@pytest.fixture
async def trade(
    system: RunningSystem, people: People, upstream: Upstream, http: aiohttp.ClientSession
) -> Trade:
    """With a call that is counted."""
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))

    async def is_answered() -> bool:
        return (await consume(http, system.gateway_url, trade.secret, trade.service["slug"])).status == 200

    async def is_counted() -> bool:
        return bool((await trade.consumer.get("/consumer/usage"))["total"].get("requests"))

    await eventually(is_answered)
    await eventually(is_counted)
    return trade


async def legend(page: Page) -> dict[str, str]:
    """What stands under the chart, by name."""
    texts: list[str] = await page.locator(".u-legend .u-series").all_inner_texts()
    parts = [re.split(r":?\s*[\t\n]\s*|:\s+", text.strip(), maxsplit=1) for text in texts]
    return {part[0]: part[1] for part in parts}


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
async def test_a_daily_chart_names_days_as_its_table_does_and_always_tells_the_last(
    zone: str, browser: Browser, system: RunningSystem, people: People, trade: Trade
) -> None:
    email = (await trade.consumer.get("/me"))["email"]
    options: dict[str, Any] = {"timezone_id": zone, "viewport": {"width": 1440, "height": 900}}
    context = await open_window(browser, system, people, email, **options)
    page = await context.new_page()
    await page.add_init_script(_KEEP_TEXTS)
    for path in (f"/dashboard/api-keys/{trade.key['keyId']}", "/dashboard/usage?range=30d"):
        await page.goto(path)
        await expect(page.locator(".chart[data-drawn] .uplot")).to_be_visible()
        days: list[dict[str, Any]] = await page.evaluate(_DAYS)
        assert len(days) >= 4, path
        for day in days:
            assert day["off"] is not None and abs(day["off"]) < 0.1, (path, day)
        last = str(await page.locator("tr[data-x] th").last.text_content())
        before = await legend(page)
        assert before["Day"] == re.sub(r" [0-9]{4}$", "", last.strip())
        assert "–" not in before.values()
        height = await page.locator(".chart").first.evaluate("chart => chart.clientHeight")
        await page.locator(".u-over").hover(position={"x": 5, "y": 50})
        await expect(page.locator(".u-legend")).not_to_contain_text(before["Day"])
        assert await page.locator(".chart").first.evaluate("chart => chart.clientHeight") == height
    await page.goto("/dashboard/usage")  # hours: the reader's own
    await expect(page.locator(".chart[data-drawn] .uplot")).to_be_visible()
    last_hour = await page.locator("tr[data-x]").last.get_attribute("data-x")
    form = "at => new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit'}).format(at * 1000)"
    assert await page.evaluate(form, int(str(last_hour))) in (await legend(page))["Time"]
    await context.close()
