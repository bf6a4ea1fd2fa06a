// Puts times into the reader's zone and keeps relative ones right. The server has already written both in UTC.

const UNITS = [[86_400, "d"], [3_600, "h"], [60, "m"], [1, "s"]];
const TICK_MS = 1_000;

const language = document.documentElement.lang;
const absolute = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(language, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});
const number = new Intl.NumberFormat(language);

const words = new Map();
const list = document.getElementById("time-words");
for (const word of list?.querySelectorAll("[data-word]") ?? []) words.set(word.dataset.word, word.textContent);

/** The largest whole unit of a distance; `relative` in `parts.rs` makes the same choice. */
function relative(milliseconds) {
  const seconds = Math.trunc(milliseconds / 1_000);
  const unit = UNITS.find(([length]) => Math.abs(seconds) >= length);
  if (!unit) return list.dataset.now;
  const [length, name] = unit;
  const template = words.get(seconds < 0 ? `${name}-ago` : `in-${name}`);
  return template.replace("{n}", number.format(Math.trunc(Math.abs(seconds) / length)));
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Rewrites the times below `root`, or those that a selector chooses. */
export function localise(root, which = "time[data-time]") {
  for (const time of root.querySelectorAll(which)) {
    const at = new Date(time.dateTime);
    if (time.dataset.time === "relative") setText(time, relative(at - Date.now()));
    if (time.dataset.time === "absolute") setText(time, absolute.format(at));
    if (time.dataset.time === "clock") setText(time, clock.format(at));
    time.title = absolute.format(at);
  }
}

/** Relative times move on; a hidden page catches up when it is shown. */
export function start() {
  localise(document);
  const tick = () => {
    if (document.hidden) return;
    for (const time of document.querySelectorAll('time[data-time="relative"]')) {
      setText(time, relative(new Date(time.dateTime) - Date.now()));
    }
  };
  setInterval(tick, TICK_MS);
  document.addEventListener("visibilitychange", tick);
}
