// A log that grows under the reader's eyes without ever moving what they read.
//
// It follows only while the reader wants it: scrolling up stops it, the button or `f` starts it again, nothing else does.
// However long the log is, the page holds a part of it: what comes before and after is fetched, and what is far from the
// reader leaves.

import { localise } from "./times.js";

/** Lines are added in batches, so that a chatty program does not lay out the page for every line. */
const BATCH_MS = 100;
/** And after a batch that took long the page is left alone for so many times as long: a reader may want something of it. */
const REST = 2;
/** Markup that waits to be added, in characters; a hidden page collects no more than this. */
const PENDING_MAX = 4_000_000;
/** How a line begins in markup. No text holds it, for texts are escaped: lines can be counted without being parsed. */
const LINE = '<div class="line" id="L';

const number = (line) => Number(line.id.slice(1));

/** Markup of lines, with their count and the number of the last. */
function piece(markup) {
  const count = markup.split(LINE).length - 1;
  const last = count && Number.parseInt(markup.slice(markup.lastIndexOf(LINE) + LINE.length), 10);
  return { markup, count, last };
}

export class LogView extends HTMLElement {
  #scroller;
  #lines;
  #edges = {};
  #buttons = {};
  #pending = [];
  #pendingSize = 0;
  #pendingCount = 0;
  /** Lines that came faster than anybody reads, and were left out between those that are shown and those that wait. */
  #skipped = 0;
  #timer = 0;
  /** How long the last batch took, in milliseconds. */
  #took = 0;
  #size = 0;
  #last = 0;
  #unseen = 0;
  #following = false;
  #loading = false;
  /** The end of the log is not here: lines that come are counted and not added. */
  #apart = false;
  #top = 0;
  #listener = (event) => this.#receive(event.detail.data);
  #hash = () => this.#toMarked();

  connectedCallback() {
    this.#scroller = this.querySelector(".log-scroll");
    this.#lines = this.querySelector(".log-lines");
    this.#last = Number(this.dataset.last);
    this.#apart = "part" in this.dataset;
    this.#size = this.#lines.textContent.length;
    for (const button of this.querySelectorAll("button[data-log]")) {
      this.#buttons[button.dataset.log] = button;
      button.hidden = button.dataset.log === "resume";
    }
    for (const side of ["before", "after"]) {
      const edge = this.querySelector(`[data-log="${side}"]`);
      this.#edges[side] = edge;
      edge.querySelector("a").addEventListener("click", (event) => {
        event.preventDefault();
        this.#more(side);
      });
    }
    // The page may have been left for a part of the log: a link to its own address would only scroll.
    this.querySelector(".log-to-end").addEventListener("click", (event) => {
      event.preventDefault();
      this.#open(this.dataset.href);
    });
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
    addEventListener("hashchange", this.#hash);
    if (!this.#toMarked() && "grows" in this.dataset) this.#setFollowing(true);
  }

  disconnectedCallback() {
    document.removeEventListener("log", this.#listener);
    removeEventListener("hashchange", this.#hash);
    clearTimeout(this.#timer);
  }

  /** Goes to the end and stays there. */
  follow() {
    if (this.#apart) this.#open(this.dataset.href);
    else if (this.#buttons.follow) this.#setFollowing(true);
    else this.#toEnd();
  }

  /** Opens another part: what this page holds is left behind, so that it never grows without bound. */
  #open(href) {
    const url = new URL(href, location.href);
    if (url.href.split("#")[0] === location.href.split("#")[0]) {
      history.replaceState(null, "", url.href.split("#")[0]);
      location.reload();
    } else {
      location.assign(url);
    }
  }

  /** Goes to the line in the address, wherever in the log it is. */
  #toMarked() {
    const marked = /^#L([1-9]\d{0,15})$/.exec(location.hash);
    if (!marked) return false;
    const line = document.getElementById(location.hash.slice(1));
    if (line) {
      this.#setFollowing(false);
      line.scrollIntoView({ block: "center" });
    } else if (Number(marked[1]) !== Number(new URLSearchParams(location.search).get("line"))) {
      location.replace(`${this.dataset.href}?line=${marked[1]}${location.hash}`);
    }
    return true;
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
      this.#trim("first");
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

  #parse(markup) {
    const template = document.createElement("template");
    template.innerHTML = markup;
    localise(template.content);
    return [...template.content.querySelectorAll(".line")];
  }

  /** Takes lines as markup that the server has escaped. */
  #receive(markup) {
    const came = piece(markup);
    // After a reconnection the stream may repeat lines that are here already.
    if (came.last <= this.#last) return;
    if (this.#apart) {
      this.#unseen += came.count;
      this.#last = came.last;
      this.#soon();
      return;
    }
    this.#pending.push(came);
    this.#pendingSize += markup.length;
    this.#pendingCount += came.count;
    // Timers of a hidden page are slow: what it collects has a bound as well.
    if (this.#following) this.#skip();
    else if (this.#pendingSize > PENDING_MAX) this.#flush();
    this.#soon();
  }

  #soon() {
    this.#timer ||= setTimeout(() => {
      const began = performance.now();
      this.#flush();
      this.#took = performance.now() - began;
    }, Math.max(BATCH_MS, this.#took * REST));
  }

  /** Who follows wants the end: what would be dropped as soon as it is added is not made into a page at all. */
  #skip() {
    const enough = ({ markup, count }) =>
      this.#pendingCount - count >= Number(this.dataset.linesMax) ||
      this.#pendingSize - markup.length >= Number(this.dataset.charsMax);
    while (this.#pending.length > 1 && enough(this.#pending[0])) {
      const { markup, count } = this.#pending.shift();
      this.#pendingSize -= markup.length;
      this.#pendingCount -= count;
      this.#skipped += count;
    }
  }

  /** Takes what waits, and leaves nothing waiting. */
  #taken() {
    const taken = { pieces: this.#pending, count: this.#pendingCount, skipped: this.#skipped };
    this.#pending = [];
    this.#pendingSize = this.#pendingCount = this.#skipped = 0;
    return taken;
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const { pieces, count, skipped } = this.#taken();
    if (skipped > 0 && !this.#following && this.#lines.childElementCount > 0) {
      // Somebody has begun to read meanwhile: what they read stays, and the end is fetched when they come to it.
      this.#last = pieces.at(-1).last;
      this.#unseen += skipped + count;
      this.#apart = true;
      this.#showEdge("after");
    } else if (pieces.length > 0) {
      const lines = this.#parse(pieces.map(({ markup }) => markup).join(""));
      const fresh = lines.filter((line) => number(line) > this.#last);
      this.#last = pieces.at(-1).last;
      this.querySelector(".log-empty").hidden = true;
      if (skipped > 0) {
        this.#lines.replaceChildren();
        this.#size = 0;
      }
      this.#add("after", fresh);
      if (skipped > 0) this.#showEdge("before");
      if (!this.#following) this.#unseen += fresh.length;
    }
    if (this.#following) {
      this.#trim("first");
      this.#toEnd();
      return;
    }
    this.#showUnseen();
    // What is dropped is the end, which is fetched again when they come to it.
    if (!this.#apart) this.#trim("last");
  }

  #add(side, lines) {
    for (const line of lines) this.#size += line.textContent.length;
    if (side === "after") this.#lines.append(...lines);
    else this.#lines.prepend(...lines);
  }

  /** Fetches what comes before or after, and lets what is at the other side go. */
  async #more(side) {
    if (this.#loading) return;
    this.#loading = true;
    const lines = this.#lines;
    try {
      const end = side === "before" ? lines.firstElementChild : lines.lastElementChild;
      if (!end) return;
      const query = side === "before" ? `before=${number(end)}` : `from=${number(end) + 1}`;
      const response = await fetch(`${this.dataset.href}/lines?${query}`);
      // Without an answer the link does what it says.
      if (!response.ok) throw new Error(String(response.status));
      const found = this.#parse(await response.text());
      this.#setFollowing(false);
      const height = this.#scroller.scrollHeight;
      this.#add(side, found);
      if (side === "before") {
        this.#scroller.scrollTop += this.#scroller.scrollHeight - height;
        this.#edges.before.hidden = found.length === 0 || number(found[0]) <= 1;
        this.#trim("last");
      } else {
        // Where nothing follows, the end is here again; a page of a part has no stream, and stays one.
        const ended = found.length === 0 || number(found.at(-1)) >= this.#last && !("part" in this.dataset);
        this.#edges.after.hidden = ended;
        if (ended && !("part" in this.dataset)) {
          this.#apart = false;
          this.#unseen = 0;
          this.#showUnseen();
        }
        this.#trim("first");
      }
      this.#top = this.#scroller.scrollTop;
    } catch {
      location.assign(this.#edges[side].querySelector("a").href);
    } finally {
      this.#loading = false;
    }
  }

  /** Drops the first or the last lines over the limits. */
  #trim(side) {
    const lines = this.#lines;
    const first = side === "first";
    let excess = lines.childElementCount - Number(this.dataset.linesMax);
    // Following goes to the end afterwards: nothing has to be measured, and measuring lays out the page.
    const measured = first && !this.#following;
    const before = measured ? lines.scrollHeight : 0;
    let dropped = false;
    while (lines.childElementCount > 1 && (excess > 0 || this.#size > Number(this.dataset.charsMax))) {
      const line = first ? lines.firstElementChild : lines.lastElementChild;
      this.#size -= line.textContent.length;
      line.remove();
      excess -= 1;
      dropped = true;
    }
    if (!dropped) return;
    this.#showEdge(first ? "before" : "after");
    if (measured) this.#scroller.scrollTop -= before - lines.scrollHeight;
    else if (!first) this.#apart = true;
  }

  /** Says that there are lines before the first or after the last, and leads there. */
  #showEdge(side) {
    const edge = this.#edges[side];
    const at = side === "before" ? number(this.#lines.firstElementChild) - 1 : number(this.#lines.lastElementChild) + 1;
    edge.querySelector("a").href = `${this.dataset.href}?line=${at}#L${at}`;
    edge.hidden = false;
  }
}

customElements.define("log-view", LogView);
