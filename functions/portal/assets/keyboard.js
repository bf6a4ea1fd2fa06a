// Shortcuts. The help dialog that `?` opens lists them all.

const PREFIX_MS = 1_500;
const PLACES = { o: "/", d: "/deliveries", t: "/triggers", w: "/workloads", q: "/queues" };

let prefixUntil = 0;

function isTyping(target) {
  return target instanceof HTMLElement &&
    (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}

/** Moves the focus to the row after (1) or before (-1) the one that has it. */
function move(step) {
  const rows = [...document.querySelectorAll("[data-row]")].filter((row) => row.querySelector("a[href]"));
  if (rows.length === 0) return;
  const current = rows.findIndex((row) => row.contains(document.activeElement));
  const next = current < 0 ? (step > 0 ? 0 : rows.length - 1) : current + step;
  const row = rows[Math.min(Math.max(next, 0), rows.length - 1)];
  (row.querySelector(".row-link") ?? row.querySelector("a[href]")).focus();
}

function openHelp() {
  const help = document.getElementById("shortcuts");
  if (help && !help.open) help.showModal();
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.timeStamp < prefixUntil) {
    prefixUntil = 0;
    const place = PLACES[event.key];
    if (place) {
      event.preventDefault();
      location.assign(place);
    }
    return;
  }
  switch (event.key) {
    case "g": prefixUntil = event.timeStamp + PREFIX_MS; break;
    case "j": move(1); break;
    case "k": move(-1); break;
    case "?": openHelp(); break;
    case "f": document.querySelector("log-view")?.follow(); break;
    case "/": {
      const filter = document.querySelector("[data-filter]");
      if (!filter) return;
      filter.focus();
      break;
    }
    default: return;
  }
  event.preventDefault();
}

export function start() {
  document.addEventListener("keydown", onKey);
  for (const button of document.querySelectorAll("[data-open-shortcuts]")) {
    button.hidden = false;
    button.addEventListener("click", openHelp);
  }
}
