/* The search palette: a combobox with a list (ARIA authoring practices). The link to /search works without it. */
(() => {
  "use strict";
  const dialog = document.getElementById("palette");
  const input = dialog.querySelector("[role=combobox]");
  const status = dialog.querySelector("[data-palette-status]");
  const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
  for (const keys of document.querySelectorAll("[data-search-keys]")) keys.textContent = isApple ? "⌘K" : "Ctrl K";
  for (const link of document.querySelectorAll("[data-palette]")) {
    link.setAttribute("aria-haspopup", "dialog");
    link.setAttribute("aria-keyshortcuts", isApple ? "Meta+K" : "Control+K");
  }
  const list = () => dialog.querySelector("[role=listbox]");
  const options = () => [...dialog.querySelectorAll("[role=option]")];
  const chosen = () => dialog.querySelector("[aria-selected=true]");
  const words = (text) => text.trim().split(/\s+/).join(" ");
  /* Enter was pressed before the list had come for what is typed. */
  let isAwaited = false;

  function choose(option) {
    chosen()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }
  function move(step) {
    const all = options();
    const at = all.indexOf(chosen());
    choose(all[(at + step + all.length) % all.length]);
  }
  const load = () => input.dispatchEvent(new Event("palette:open"));
  function open() {
    if (dialog.open) return input.select();
    for (const other of document.querySelectorAll("[popover]:popover-open")) other.hidePopover();
    dialog.showModal();
    input.focus();
    input.select();
    isAwaited = false;
    load();
  }
  function follow() {
    isAwaited = words(input.value) !== list()?.dataset.words;
    if (!isAwaited) chosen()?.click();
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    }
  });
  document.addEventListener("click", (event) => {
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
    if (event.target.closest("[data-palette]") && isPlain) { event.preventDefault(); open(); }
    if (event.target === dialog || event.target.closest("[data-palette-close]")) dialog.close();
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Enter") follow();
    else return;
    event.preventDefault();
  });
  /* Opened before htmx was there: nobody heard of it. */
  document.addEventListener("htmx:after:init", (event) => { if (event.target === input && dialog.open) load(); });
  input.addEventListener("input", () => { isAwaited = false; dialog.dataset.awaits = ""; });
  dialog.addEventListener("htmx:after:swap", () => {
    const count = options().length;
    if (words(input.value) === list()?.dataset.words) delete dialog.dataset.awaits;
    input.setAttribute("aria-expanded", String(count > 0));
    choose(options()[0]);
    const message = dialog.querySelector(".palette-told, .palette-found .notice")?.textContent.trim() ?? "";
    status.textContent = message || (count === 1 ? "1 result" : `${count} results`);
    if (isAwaited) follow();
  });
})();
