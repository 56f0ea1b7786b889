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

  /* Toasts go by themselves, except under the pointer, with the focus inside, or with something to do. */
  const timeToasts = () => {
    for (const toast of document.querySelectorAll("[data-toast]:not([data-timed])")) {
      toast.dataset.timed = "";
      if (toast.querySelector("form")) continue;
      const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove());
      setTimeout(leave, 6000);
    }
  };
  timeToasts();
  document.addEventListener("htmx:after:swap", timeToasts);

  /* A form is sent once; coming back through the browser's history makes it good again. */
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) return event.preventDefault();
    event.target.dataset.sent = "true";
    event.target.removeAttribute("data-dirty");
    const button = event.submitter;
    if (button?.classList.contains("button")) setTimeout(() => button.setAttribute("aria-busy", "true"), 100);
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  });
  document.addEventListener("htmx:finally:request", (event) => {
    if (event.target.dataset) delete event.target.dataset.sent;
  });

  /* What was typed isn't lost by leaving unasked. */
  document.addEventListener("input", (event) => {
    event.target.closest("form[data-guard]")?.setAttribute("data-dirty", "");
    const confirm = event.target.closest("form[data-confirm]");
    if (confirm) event.target.setCustomValidity(event.target.value === confirm.dataset.confirm ? "" : `Type “${confirm.dataset.confirm}”`);
  });
  window.addEventListener("beforeunload", (event) => {
    if (document.querySelector("form[data-dirty]")) event.preventDefault();
  });

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
