/* What makes plain pages nicer. Every page works without it. */
(() => {
  "use strict";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  if (!document.cookie.includes(`ams_zone=${encodeURIComponent(zone)}`)) {
    const secure = location.protocol === "https:" ? ";secure" : "";
    document.cookie = `ams_zone=${encodeURIComponent(zone)};path=/;max-age=31536000;samesite=lax${secure}`;
  }

  async function copy(button) {
    await navigator.clipboard.writeText(button.dataset.copy);
    const label = button.getAttribute("aria-label");
    button.dataset.copied = "";
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      delete button.dataset.copied;
      button.setAttribute("aria-label", label);
    }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    if (event.target.closest("[data-print]")) window.print();
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.closest("[data-toast]").remove();
  });

  /* One box that ticks all of a form's boxes of a name. */
  document.addEventListener("change", (event) => {
    const all = event.target.closest("[data-tick-all]");
    if (!all) return;
    for (const box of all.form.elements)
      if (box.type === "checkbox" && box.name === all.dataset.tickAll) box.checked = all.checked;
  });

  /* Toasts go by themselves, except under the pointer, with the focus inside, with something to do or a fault to tell. */
  const timeToasts = () => {
    for (const toast of document.querySelectorAll("[data-toast]:not([data-timed])")) {
      toast.dataset.timed = "";
      if (toast.matches(".toast-bad, :has(form)")) continue;
      const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove());
      setTimeout(leave, 6000);
    }
  };
  timeToasts();
  document.addEventListener("htmx:after:swap", timeToasts);

  /* A form is sent once. It is good again when its answer doesn't come, or one comes back to it. */
  const ANSWER_MS = 10000;
  function forgive(form) {
    if (!form.dataset.sent) return;
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
  document.addEventListener("submit", (event) => {
    const form = event.target, button = event.submitter;
    if ((button?.getAttribute("formmethod") ?? form.method) !== "post") return;
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "true";
    form.removeAttribute("data-dirty");
    if (button?.classList.contains("button")) setTimeout(() => form.dataset.sent && button.setAttribute("aria-busy", "true"), 100);
    setTimeout(() => {
      if (form.dataset.sent && form.matches("[data-guard]")) form.setAttribute("data-dirty", "");
      forgive(form);
    }, ANSWER_MS);
  });
  window.addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach(forgive));
  document.addEventListener("htmx:finally:request", (event) => {
    if (event.target.matches?.("form")) forgive(event.target);
  });

  /* What a script asks for and doesn't have within a second shows that it is under way; what can't be asked for says so. */
  const busy = document.querySelector("[data-busy]");
  const waits = new Map();
  document.addEventListener("htmx:before:request", (event) => {
    waits.set(event.detail.ctx, setTimeout(() => { busy.hidden = false; }, 1000));
  });
  document.addEventListener("htmx:finally:request", (event) => {
    clearTimeout(waits.get(event.detail.ctx));
    waits.delete(event.detail.ctx);
    if (!waits.size) busy.hidden = true;
  });
  document.addEventListener("htmx:error", () => {
    const toast = document.querySelector("[data-unreachable]").content.cloneNode(true);
    const place = document.querySelector("dialog:modal") ?? document.querySelector(".toasts");
    place.querySelector(".toast-unreachable")?.remove();
    place.append(toast);
  });

  /* The bell counts on, while the page is looked at. What can't be asked for now is asked for the next time. */
  const bell = document.querySelector("[data-bell]");
  const BELL_MS = 60000;
  async function countUnread() {
    if (document.hidden) return;
    let answer;
    try {
      answer = await fetch(bell.dataset.bell, { headers: { accept: "text/plain", "hx-request": "true" } });
    } catch { return; }
    const unread = answer.ok ? Number(await answer.text()) : NaN;
    if (Number.isNaN(unread)) return;
    bell.querySelector("[data-count]").textContent = unread > 99 ? "99+" : unread;
    bell.querySelector("[data-unread]").hidden = !unread;
  }
  if (bell) {
    countUnread();
    setInterval(countUnread, BELL_MS);
    document.addEventListener("visibilitychange", countUnread);
  }

  /* What was typed isn't lost by leaving unasked. */
  document.addEventListener("input", (event) => {
    event.target.closest("form[data-guard]")?.setAttribute("data-dirty", "");
    const confirm = event.target.closest("form[data-confirm]");
    if (confirm) event.target.setCustomValidity(event.target.value === confirm.dataset.confirm ? "" : `Type “${confirm.dataset.confirm}”`);
  });
  window.addEventListener("beforeunload", (event) => {
    if (document.querySelector("form[data-dirty]")) event.preventDefault();
  });

  /* A dialog that stands open, for what it asks was refused, keeps the page out as one that was just opened does. */
  const refused = document.querySelector("dialog[open]");
  if (refused) {
    refused.close();
    refused.showModal();
  }
  document.querySelector("[data-focus]")?.focus();

  /* A dialog begins with what is to be filled in. */
  document.addEventListener("toggle", (event) => {
    if (event.newState === "open" && event.target.matches?.(".dialog")) event.target.querySelector("input:not([type=hidden]), textarea, select")?.focus();
  }, true);

  /* Browsers that don't know a button's command yet. */
  if (!("commandForElement" in HTMLButtonElement.prototype)) {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[commandfor]");
      const dialog = button && document.getElementById(button.getAttribute("commandfor"));
      if (dialog) button.getAttribute("command") === "close" ? dialog.close() : dialog.showModal();
    });
  }

  /* A menu or drawer that the focus leaves would lie over what has it now. */
  document.addEventListener("focusin", (event) => {
    const open = document.querySelector("[popover]:popover-open");
    if (open && !open.contains(event.target) && event.target.getAttribute("popovertarget") !== open.id) open.hidePopover();
  });

  /* An item that a decision takes away hands the focus on: to what is wrong with it, or else to the next item. */
  document.addEventListener("submit", (event) => {
    const item = event.target.matches("[hx-post]") && event.target.closest("li");
    if (!item) return;
    const next = item.nextElementSibling ?? item.previousElementSibling ?? item.closest(".card");
    document.addEventListener("htmx:after:swap", () => {
      if (document.activeElement !== document.body) return;
      const place = document.getElementById(item.id)?.querySelector("[data-focus]") ?? next;
      if (!place.matches("input")) place.tabIndex = -1;
      place.focus();
    }, { once: true });
  });
})();
