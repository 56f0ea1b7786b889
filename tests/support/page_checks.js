/* What is wrong with the page as it is laid out now: a list of sentences.
   A finger needs 40 px, a mouse 24 where it isn't a plain link (WCAG 2.5.8). Links within a line of text are as tall
   as the text (the rule's "Inline"); a box to tick is as large as its label, a link as what lies over it (::after);
   what lies beyond the edge of a box that scrolls can be scrolled to. */
() => {
  const faults = new Set();
  const page = document.documentElement;
  const tell = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 140);
  const isFinger = matchMedia("(pointer: coarse)").matches;
  const smallest = isFinger ? 39.5 : 23.5;
  const targets = `${isFinger ? "a[href]" : "a.button, nav a"}, button, select, textarea, summary, input:not([type=hidden])`;

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
  const isCutOff = (element, style) => {
    const isWide = style.overflowX === "hidden" && element.scrollWidth > element.clientWidth + 1;
    const isTall = /hidden|clip/.test(style.overflowY) && element.scrollHeight > element.clientHeight + 1;
    const isMeant = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
    return (isWide || isTall) && !isMeant && element.textContent.trim() !== "";
  };

  /* Whether other text stands in a line with the link. */
  const isInText = (link, style) => {
    if (!link.matches("a") || style.display !== "inline") return false;
    let block = link.parentElement;
    while (getComputedStyle(block).display === "inline") block = block.parentElement;
    const lines = [...link.getClientRects()];
    const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      if (!/\w/.test(text.data) || text.parentElement.closest("a") === link) continue;
      const range = document.createRange();
      range.selectNodeContents(text);
      for (const box of range.getClientRects())
        if (lines.some((line) => box.top < line.bottom - 4 && box.bottom > line.top + 4)) return true;
    }
    return false;
  };
  const boxOf = (element) =>
    ((element.matches("[type=checkbox], [type=radio]") && element.closest("label")) || element).getBoundingClientRect();
  const sizeOf = (element) => {
    const { width, height } = boxOf(element);
    const over = getComputedStyle(element, "::after");
    if (over.content === "none" || over.position !== "absolute") return [width, height];
    return [Math.max(width, parseFloat(over.width)), Math.max(height, parseFloat(over.height))];
  };

  /* What stays where it is while the page scrolls, or lies above it, is meant to be over other things. */
  const layerOf = (element) => {
    for (let around = element; around; around = around.parentElement)
      if (/fixed|sticky/.test(getComputedStyle(around).position)) return around;
    return null;
  };
  const isOver = (one, other) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2 &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 2;
  const controls = [];

  const beyond = page.scrollWidth - page.clientWidth;
  if (beyond > 0) faults.add(`the page scrolls sideways by ${beyond} px`);
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!isSeen(element, box)) continue;
    const style = getComputedStyle(element);
    const isOutside = box.right > page.clientWidth + 1 || box.left < -1;
    if (isOutside && !isInScroller(element)) faults.add(`sticks out of the page: ${tell(element)}`);
    if (isCutOff(element, style)) faults.add(`is cut off: ${tell(element)}`);
    if (!element.matches(targets) || isInText(element, style)) continue;
    if (!isInScroller(element)) controls.push({ element, layer: layerOf(element), box: boxOf(element) });
    const [width, height] = sizeOf(element);
    if (Math.min(width, height) < smallest)
      faults.add(`${Math.round(width)} × ${Math.round(height)} px to hit: ${tell(element)}`);
  }
  controls.forEach((one, index) => {
    for (const other of controls.slice(index + 1))
      if (one.layer === other.layer && isOver(one.box, other.box))
        faults.add(`lie over each other: ${tell(one.element)} and ${tell(other.element)}`);
  });
  return [...faults];
};
