// A log that grows under the reader's eyes without ever moving what they read.
//
// It follows only while the reader wants it: scrolling up stops it, the button or `f` starts it again, nothing else does.

import { localise } from "./times.js";

/** Lines are added in batches, so that a chatty program does not lay out the page for every line. */
const BATCH_MS = 100;

export class LogView extends HTMLElement {
  #scroller;
  #lines;
  #buttons = {};
  #pending = [];
  #timer = 0;
  #last = 0;
  #unseen = 0;
  #following = false;
  #top = 0;
  #listener = (event) => this.#receive(event.detail.data);

  connectedCallback() {
    this.#scroller = this.querySelector(".log-scroll");
    this.#lines = this.querySelector(".log-lines");
    this.#last = Number(this.dataset.last);
    for (const button of this.querySelectorAll("[data-log]")) {
      this.#buttons[button.dataset.log] = button;
      button.hidden = button.dataset.log === "resume";
    }
    this.#buttons.follow?.addEventListener("click", () => this.#setFollowing(!this.#following));
    this.#buttons.resume.addEventListener("click", () => this.follow());
    this.#toggle("wrap", "wrap", localStorage.getItem("log-wrap") !== "no");
    this.#toggle("times", "times", localStorage.getItem("log-times") === "yes");
    // Only a reader scrolls up: adding lines moves the end down, and following moves with it.
    this.#scroller.addEventListener("scroll", () => {
      const top = this.#scroller.scrollTop;
      if (top < this.#top - 1 && this.#following) this.#setFollowing(false);
      this.#top = top;
    }, { passive: true });
    // The stream's named events come from its element and bubble.
    document.addEventListener("log", this.#listener);
    const marked = /^#L\d+$/.test(location.hash);
    if (marked) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
    else if ("grows" in this.dataset) this.#setFollowing(true);
  }

  disconnectedCallback() {
    document.removeEventListener("log", this.#listener);
    clearTimeout(this.#timer);
  }

  /** Goes to the end and stays there. */
  follow() {
    if (this.#buttons.follow) this.#setFollowing(true);
    else this.#toEnd();
  }

  #toggle(name, className, on) {
    const button = this.#buttons[name];
    const set = (value) => {
      this.#lines.classList.toggle(className, value);
      button.setAttribute("aria-pressed", String(value));
    };
    set(on);
    button.addEventListener("click", () => {
      const value = button.getAttribute("aria-pressed") !== "true";
      set(value);
      localStorage.setItem(`log-${name}`, value ? "yes" : "no");
      if (this.#following) this.#toEnd();
    });
  }

  #setFollowing(value) {
    this.#following = value;
    this.#buttons.follow?.setAttribute("aria-pressed", String(value));
    if (value) {
      this.#unseen = 0;
      this.#toEnd();
    }
    this.#showUnseen();
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  #showUnseen() {
    const button = this.#buttons.resume;
    button.hidden = this.#unseen === 0;
    button.querySelector("span").textContent = button.dataset.text.replace("{n}", this.#unseen);
  }

  /** Takes lines as markup that the server has escaped. */
  #receive(markup) {
    this.#pending.push(markup);
    this.#timer ||= setTimeout(() => this.#flush(), BATCH_MS);
  }

  #flush() {
    this.#timer = 0;
    const template = document.createElement("template");
    template.innerHTML = this.#pending.join("");
    this.#pending = [];
    // After a reconnection the stream may repeat lines that are here already.
    const fresh = [...template.content.children].filter((line) => Number(line.id.slice(1)) > this.#last);
    if (fresh.length === 0) return;
    this.#last = Number(fresh.at(-1).id.slice(1));
    const added = document.createDocumentFragment();
    added.append(...fresh);
    localise(added);
    this.querySelector(".log-empty").hidden = true;
    this.#lines.append(added);
    if (this.#following) {
      this.#trim();
      this.#toEnd();
    } else {
      this.#unseen += fresh.length;
      this.#showUnseen();
    }
  }

  /** Drops the oldest lines over the limit, but never from under somebody who reads them. */
  #trim() {
    let excess = this.#lines.childElementCount - Number(this.dataset.linesMax);
    if (excess <= 0) return;
    this.querySelector(".log-dropped").hidden = false;
    for (; excess > 0; excess -= 1) this.#lines.firstElementChild.remove();
  }
}

customElements.define("log-view", LogView);
