"""Somebody without a mouse: what they reach by Tab, and what must be true at each stop."""

from dataclasses import dataclass

from playwright.async_api import Page

_FARTHEST = 120

# What has the focus: its name, the text of the item that it is in, and what is wrong with where it stands.
# Its looks are kept in the window for the next call: what has lost the focus must look otherwise then.
_STOP = """async () => {
  // The first frame of a dialog that comes shows nothing of it yet.
  const isComing = (each) => each.playState === "running" && each.effect.getComputedTiming().endTime < 2000;
  const moves = document.getAnimations().filter(isComing);
  if (moves.length) await Promise.allSettled(moves.map((each) => each.finished));
  const marks = (element) => {
    const around = [element, ...(element.labels ?? [])];
    for (let up = element.parentElement; up && around.length < 7; up = up.parentElement) around.push(up);
    return around.map((each) => {
      const style = getComputedStyle(each);
      const outline = style.outlineStyle === "none" || style.outlineWidth === "0px" ? "" : style.outline;
      return `${outline}|${style.boxShadow}`;
    }).join(";");
  };
  const focused = document.activeElement;
  // Past its last element the page has lost the focus to the browser itself.
  const at = focused === document.body || focused === document.documentElement ? null : focused;
  const wrong = [], last = window.amsLastStop;
  if (last && last.element !== at && last.element.isConnected && marks(last.element) === last.marks)
    wrong.push(`comes after “${last.name}”, where the focus couldn't be seen`);
  window.amsLastStop = null;
  if (!at) return {name: "", inside: "", isField: false, wrong};
  // A radio button may be drawn as its label.
  const seen = getComputedStyle(at).opacity === "0" && at.labels?.length ? at.labels[0] : at;
  const words = at.getAttribute("aria-label") ?? (at.labels?.length ? at.labels[0].innerText : at.innerText);
  const name = (words || at.value || at.id || at.tagName).trim().replace(/\\s+/g, " ");
  if (at.closest("[hidden], [inert], [aria-hidden=true]")) wrong.push("is hidden");
  if (!seen.checkVisibility({visibilityProperty: true, opacityProperty: true})) wrong.push("can't be seen");
  const box = seen.getClientRects()[0];
  if (!box || box.width < 8 || box.height < 8) wrong.push("has no size");
  else {
    const fits = box.height < innerHeight - 200;
    if (fits && (box.top < -1 || box.bottom > innerHeight + 1)) wrong.push("is out of the window");
    const x = (Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2;
    const top = Math.max(box.top, 0), bottom = Math.min(box.bottom, innerHeight);
    for (const y of fits ? [top + 3, (top + bottom) / 2, bottom - 3] : [(top + bottom) / 2]) {
      const hit = document.elementFromPoint(x, y);
      if (hit && (seen.contains(hit) || hit === seen.closest("label"))) continue;
      wrong.push(`is under ${hit?.outerHTML.slice(0, 80)}`);
      break;
    }
  }
  window.amsLastStop = {element: at, marks: marks(at), name};
  const isField = at.matches("input:not([type=checkbox], [type=radio]), textarea, select");
  return {name, inside: at.closest("article, li")?.innerText ?? "", isField, wrong};
}"""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the focus is."""

    name: str  # empty: on the page as a whole
    inside: str  # the text of the list's item that it is in
    is_field: bool = False  # to type into, or to choose from


class Keyboard:
    """Tab, Enter, Escape, arrows and letters; nothing else."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def press(self, key: str) -> None:
        await self._page.keyboard.press(key)

    async def stop(self) -> Stop:
        """What has the focus; it must be in sight, and what had it at the last call have lost its mark."""
        told = await self._page.evaluate(_STOP)
        assert not told["wrong"], f"{self._page.url}: “{told['name']}” {', '.join(told['wrong'])}"
        return Stop(told["name"], told["inside"], told["isField"])

    async def tab(self, key: str = "Tab") -> Stop:
        await self.press(key)
        return await self.stop()

    async def walk(self) -> list[str]:
        """Tab from the page's start to its end: the names of all stops."""
        names: list[str] = []
        while name := (await self.tab()).name:
            names.append(name)
            assert len(names) < _FARTHEST, f"{self._page.url}: Tab doesn't come to an end: {names}"
        return names

    async def reach(self, name: str, inside: str = "", is_field: bool = False) -> None:
        """Tab until what has a name that starts so has the focus, in the item with the text `inside`."""
        stop, passed = await self.stop(), []
        while not (stop.name.startswith(name) and inside in stop.inside and stop.is_field >= is_field):
            passed.append(stop.name)
            assert len(passed) < _FARTHEST, f"{self._page.url}: “{name}” isn't reached; passed {passed}"
            stop = await self.tab()
        # Away and back: it is marked, and can be left in both directions.
        await self.tab()
        back = await self.tab("Shift+Tab")
        if not back.name:  # after a dialog's last stop the browser may keep the focus for one more
            back = await self.tab("Shift+Tab")
        assert back == stop, f"{self._page.url}: Shift+Tab leads to “{back.name}”, not back to “{stop.name}”"

    async def type(self, name: str, text: str) -> None:
        """Into the field with this label."""
        await self.reach(name, is_field=True)
        await self._page.keyboard.type(text)

    async def use(self, name: str, inside: str = "", key: str = "Enter") -> None:
        """Reach it and press Enter, or Space."""
        await self.reach(name, inside)
        await self.press(key)

    async def follow(self, name: str, key: str = "Enter") -> None:
        """Use it, and wait for the page that it leads to."""
        await self.reach(name)
        await self.leave(key)

    async def leave(self, key: str = "Enter") -> None:
        """Press the key where the focus is, and wait for the page that it leads to."""
        async with self._page.expect_event("domcontentloaded"):
            await self.press(key)
