// The badge that says how fresh the page is, and pausing. The stream itself is an element that htmx connects.

/** A reconnection that takes less than this is not worth a word. */
const SILENCE_MS = 2_000;

export function start() {
  const badge = document.getElementById("live-badge");
  let source = document.getElementById("live-source");
  if (!badge || !source) return;

  let lastId = "";
  let late = 0;
  const show = (state) => {
    clearTimeout(late);
    badge.dataset.state = state;
  };
  const lost = () => {
    clearTimeout(late);
    late = setTimeout(() => show("reconnecting"), SILENCE_MS);
  };

  // The events bubble from whichever source element is connected now.
  document.addEventListener("htmx:sse:after:connection", () => show("live"));
  document.addEventListener("htmx:sse:after:message", (event) => {
    lastId = event.detail.message.id || lastId;
  });
  document.addEventListener("htmx:sse:error", lost);
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) lost();
  });
  // The stream says that nothing will change any more.
  document.addEventListener("finished", () => {
    clearTimeout(late);
    badge.hidden = true;
    source.remove();
  });

  badge.addEventListener("click", () => {
    if (badge.dataset.state === "paused") {
      const again = source.cloneNode();
      if (lastId) again.setAttribute("hx-headers", JSON.stringify({ "Last-Event-ID": lastId }));
      source = again;
      document.body.append(source);
      show("connecting");
      window.htmx.process(source);
    } else {
      source.remove();
      window.htmx.trigger(source, "htmx:abort");
      show("paused");
    }
  });
  badge.hidden = false;
}
