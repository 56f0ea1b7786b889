/* Keeps a page's figures as they are now: one stream, open while the page is looked at. */
(() => {
  "use strict";
  const badge = document.querySelector("[data-live]");
  if (!badge) return;
  const FIRST_WAIT_MS = 5000, LONGEST_WAIT_MS = 120000;
  let address = badge.dataset.live, source, timer, wait_ms = FIRST_WAIT_MS, isOver = false;

  function say(state, words) {
    badge.dataset.state = state;
    badge.querySelector("[data-said]").textContent = words;
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  }

  function open() {
    close();
    if (isOver || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("open", () => { wait_ms = FIRST_WAIT_MS; say("on", "Live"); });
    source.addEventListener("figures", (event) => {
      /* Opened again, the stream need not tell what is shown already. */
      address = address.replace(/\/live\/[^?]*/, `/live/${event.lastEventId}`);
      show(event.data);
    });
    source.addEventListener("end", () => { isOver = true; close(); say("off", "Stopped"); });
    source.addEventListener("error", () => {
      say("off", "Reconnecting");
      if (source.readyState !== EventSource.CLOSED) return;  // the browser tries again by itself
      close();
      timer = setTimeout(open, wait_ms * (0.75 + Math.random() / 2));
      wait_ms = Math.min(wait_ms * 2, LONGEST_WAIT_MS);
    });
  }

  function show(html) {
    const focused = document.activeElement, ids = [];
    for (const part of new DOMParser().parseFromString(html, "text/html").querySelectorAll("body > [id]")) {
      const old = document.getElementById(part.id);
      if (!old) continue;
      become(old, part);
      ids.push(part.id);
    }
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    document.dispatchEvent(new CustomEvent("live:shown", { detail: ids }));
  }

  /* Makes `old` like `fresh` and leaves alone what is the same, so that nothing loses its focus or its place on the
     screen. What the reader or a script has done to a part stays: whether a table is open, a drawn chart, the badge. */
  function become(old, fresh) {
    if (old.matches("[data-canvas], .chart-head") || old.isEqualNode(fresh)) return;
    const kept = old.matches("[data-chart]") ? "data-drawn" : old.matches("details") ? "open" : "";
    for (const { name } of [...old.attributes]) if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
    const keyed = new Map([...old.children].filter((child) => child.dataset?.key).map((child) => [child.dataset.key, child]));
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const same = keyed.get(wanted.dataset?.key);
      if (same && same !== at) old.insertBefore(same, at);
      const here = same ?? at;
      at = here?.nextSibling ?? null;
      if (!here) old.append(wanted);
      else if (here.nodeType !== wanted.nodeType || here.nodeName !== wanted.nodeName || here.dataset?.key !== wanted.dataset?.key) old.insertBefore(wanted, (at = here));
      else if (here.nodeType === Node.ELEMENT_NODE) become(here, wanted);
      else if (here.data !== wanted.data) here.data = wanted.data;
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  document.addEventListener("visibilitychange", open);
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());
  open();
})();
