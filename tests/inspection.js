/* What is wrong with the page as it is laid out now: a list of sentences.
   A finger needs 40 px, a mouse 24 (WCAG 2.5.8). Links within a text are as tall as the text (the rule's "Inline"); a box to tick is as large as its label;
   what lies beyond the edge of a box that scrolls can be scrolled to. */
() => {
  const faults = new Set();
  const page = document.documentElement;
  const tell = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 140);
  const smallest = matchMedia("(pointer: coarse)").matches ? 39.5 : 23.5;
  const targets =
    "button, select, textarea, summary, input:not([type=hidden]), a.button, nav a, a.place, .crumbs a";

  /* For screen readers only. */
  const isClipped = (element) => {
    for (let around = element; around; around = around.parentElement)
      if (getComputedStyle(around).clipPath === "inset(50%)") return true;
    return false;
  };
  const isSeen = (element, box) =>
    box.width > 1 &&
    box.height > 1 &&
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !isClipped(element);
  const isInScroller = (element) => {
    for (let around = element.parentElement; around; around = around.parentElement)
      if (/auto|scroll/.test(getComputedStyle(around).overflowX)) return true;
    return false;
  };
  const isCutOff = (element, style) =>
    style.overflowX === "hidden" &&
    style.textOverflow !== "ellipsis" &&
    element.scrollWidth > element.clientWidth + 1 &&
    element.textContent.trim() !== "";

  const beyond = page.scrollWidth - page.clientWidth;
  if (beyond > 0) faults.add(`the page scrolls sideways by ${beyond} px`);
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!isSeen(element, box)) continue;
    const style = getComputedStyle(element);
    const isOutside = box.right > page.clientWidth + 1 || box.left < -1;
    if (isOutside && !isInScroller(element)) faults.add(`sticks out of the page: ${tell(element)}`);
    if (isCutOff(element, style)) faults.add(`is cut off: ${tell(element)}`);
    if (!element.matches(targets)) continue;
    const isBox = element.matches("[type=checkbox], [type=radio]");
    const target = (isBox && element.closest("label")) || element;
    const { width, height } = target.getBoundingClientRect();
    if (Math.min(width, height) < smallest)
      faults.add(`${Math.round(width)} × ${Math.round(height)} px to hit: ${tell(element)}`);
  }
  return [...faults];
};
