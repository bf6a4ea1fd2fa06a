// What every page does beyond its links and forms, all of which work without this.

import { start as startKeyboard } from "./keyboard.js";
import { start as startLive } from "./live.js";
import "./log-view.js";
import { localise, start as startTimes } from "./times.js";

const COPIED_MS = 1_600;

/** A text with a button that copies it. */
class CopyText extends HTMLElement {
  connectedCallback() {
    const button = this.querySelector("button");
    // Without a secure context there is no clipboard; the text can still be selected.
    if (!button || !navigator.clipboard) return;
    button.hidden = false;
    const label = button.querySelector("span");
    const copy = label.textContent;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(this.querySelector("code").textContent);
      label.textContent = button.dataset.copied;
      document.getElementById("announcer").textContent = button.dataset.copied;
      setTimeout(() => { label.textContent = copy; }, COPIED_MS);
    });
  }
}

/** The theme changes at once and is remembered by the server, which renders the next page in it. */
function enhancePreferences() {
  const form = document.querySelector("[data-preferences]");
  form?.addEventListener("submit", (event) => {
    const { name, value } = event.submitter ?? {};
    if (name !== "theme") return;
    event.preventDefault();
    document.documentElement.dataset.theme = value;
    for (const button of form.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button === event.submitter));
    }
    const body = new URLSearchParams(new FormData(form));
    body.set(name, value);
    fetch(form.action, { method: "POST", body, redirect: "manual" });
  });
}

/** An open menu closes as menus do. */
function enhanceMenu() {
  const menu = document.querySelector("details.menu");
  if (!menu) return;
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

/** One box that stands for all boxes of a form. Rows come and go with the stream, so the page listens for them. */
function enhanceChoice() {
  const boxes = (form) => [...document.querySelectorAll(`.choice[form="${form}"]`)];
  document.addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLInputElement) || target.type !== "checkbox") return;
    const { chooseAll } = target.dataset;
    if (chooseAll) {
      for (const box of boxes(chooseAll)) box.checked = target.checked;
      return;
    }
    const form = target.getAttribute("form");
    const all = document.querySelector(`[data-choose-all="${form}"]`);
    if (!all) return;
    const chosen = boxes(form).filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === boxes(form).length;
    all.indeterminate = chosen > 0 && !all.checked;
  });
}

customElements.define("copy-text", CopyText);
startTimes();
startKeyboard();
startLive();
enhancePreferences();
enhanceMenu();
enhanceChoice();
// The lines of a log are never swapped, and there may be thousands of them.
document.addEventListener("htmx:after:swap", () => localise(document, "time[data-time]:not(.line time)"));
