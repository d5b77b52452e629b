// The waiting page's script: hears of the decision, shows it, and when it is a yes posts the form that completes it. It decides
// nothing: the server does, when that form arrives. All sentences are in the page.
(() => {
  "use strict";
  const page = document.getElementById("secondfactor");
  const base = page.dataset.base;
  const region = page.querySelector("[role=status]");
  const open = page.querySelector("[data-for=open]");
  const each = (selector, f) => page.querySelectorAll(selector).forEach(f);
  const say = (word) => { region.textContent = region.dataset["say" + word[0].toUpperCase() + word.slice(1)] || region.textContent; };

  // Without a live region change nobody who listens instead of looks would know; without focus they would be lost (WCAG 4.1.3).
  const show = (section, title) => {
    each("[data-for]", (s) => { s.hidden = s !== section; });
    const heading = section.querySelector("h1");
    heading.textContent = title || heading.textContent;
    document.title = heading.textContent + " · " + document.title.split(" · ").pop();
    heading.focus();
  };

  let over = !("watch" in page.dataset);
  const finish = (state, mayResend) => {
    over = true;
    region.dataset.state = state;
    say(state);
    if (mayResend && open) {
      each("[data-while=live]", (e) => { e.hidden = true; });
      each("[data-while=over]", (e) => { e.hidden = false; show(open, e.dataset.title); });
    } else {
      show(page.querySelector(`[data-for="${state}"]`) || page.querySelector("[data-for=cancelled]"));
    }
  };

  const complete = async () => {
    over = true;
    if ("hold" in page.dataset && region.dataset.state === "approved") return; // the last try failed: the person presses Continue
    // A form sent into a dead network ends on the browser's error page. A browser that says it is offline may be wrong, so ask.
    while (!navigator.onLine && !(await fetch(base + "/authy/status").then((a) => a.ok, () => false))) {
      reconnecting();
      await new Promise((later) => { setTimeout(later, 1000); });
    }
    document.getElementById("complete").submit(); // first of all: the person waits for this
    region.dataset.state = "approved";
    say("approved");
    each("[data-for]", (s) => { s.hidden = s.dataset.for !== "approved"; });
  };

  // What the server says. Returns whether to go on listening.
  const hear = (s) => {
    if (over) return false;
    if (s.attempt !== page.dataset.attempt) finish("cancelled");
    else if (s.state === "approved") complete();
    else if (s.state === "denied" && s.reason || s.state === "cancelled" && s.notice === "ended") { over = true; location.replace(base + "/login/verify"); } // that page has the words for it
    else if (["denied", "expired", "cancelled", "locked"].includes(s.state)) finish(s.state, s.methods.length > 0);
    else if (s.state !== region.dataset.state) { over = true; location.replace(base + "/login/verify"); } // another tab chose another way
    else if (lost) { lost = false; region.textContent = before; }
    return !over;
  };

  let lost = false;
  const before = region.textContent;
  const reconnecting = () => { lost = true; say("reconnecting"); };

  // The stream, and polling for as long as there is no stream: every 2 s for half a minute, then every 5 s.
  let stream;
  const listen = () => {
    let heard = false;
    let failures = 0;
    stream = new EventSource(base + "/login/verify/events");
    const quiet = setTimeout(() => { if (!heard) poll(); }, 4000); // something between us holds streams back
    stream.addEventListener("state", (e) => {
      heard = true;
      failures = 0;
      clearTimeout(quiet);
      if (!hear(JSON.parse(e.data))) stream.close();
    });
    stream.onerror = () => {
      if (over) { stream.close(); return; }
      reconnecting();
      failures += 1;
      if (stream.readyState === EventSource.CLOSED || failures > 2) { clearTimeout(quiet); poll(heard); }
    };
  };

  let polls = 0;
  const poll = async (again) => {
    stream.close();
    if (over) return;
    try {
      const answer = await fetch(base + "/authy/status", { cache: "no-store" });
      if (answer.status === 401) { finish("cancelled"); return; }
      if (!answer.ok) throw new Error(answer.status);
      if (!hear(await answer.json())) return;
      if (again) { listen(); return; } // the server is back, and streams did work
    } catch { reconnecting(); }
    polls += 1;
    setTimeout(() => poll(again), polls < 15 ? 2000 : 5000);
  };

  // The countdown is for the eye only; 30 seconds before the end it is said once.
  const ends = performance.now() + 1000 * page.dataset.left;
  const tick = () => {
    if (over) return;
    const left = Math.max(0, Math.round((ends - performance.now()) / 1000));
    each("[data-countdown]", (e) => { e.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`; });
    if (left === 30) say("soon");
    if (left === 0 && region.dataset.state === "code_pending") { // the code goes on without the request
      each("[data-while=live]", (e) => { e.hidden = true; });
      each("[data-while=over]", (e) => { e.hidden = false; });
    }
  };
  if ("live" in page.dataset) { tick(); setInterval(tick, 1000); }

  each("[data-after]", (e) => setTimeout(() => { e.hidden = false; }, 1000 * e.dataset.after));
  each("[data-wait]", (button) => {
    const text = button.textContent;
    let left = Number(button.dataset.wait);
    const count = () => {
      button.disabled = left > 0;
      button.textContent = left > 0 ? `${text} (${left < 120 ? `${left}\u00a0s` : `${Math.ceil(left / 60)}\u00a0min`})` : text;
      if (left-- > 0) setTimeout(count, 1000);
    };
    count();
  });
  each("form", (form) => form.addEventListener("submit", () => {
    // The answer to what the person sent is the next page. A decision heard meanwhile would complete the attempt from here,
    // and again from there.
    over = true;
    if (form.dataset.sent) return;
    form.dataset.sent = "yes";
    setTimeout(() => form.querySelectorAll("button").forEach((b) => { b.disabled = true; })); // after the form was read
  }));
  // Whoever opens the authenticator on this same device need not remember the number (PU17). It goes by the clipboard and never in an address: an address
  // that brings the number along could come from somebody else, who logs in elsewhere and wants a yes from here.
  each("[data-carry]", (link) => link.addEventListener("click", () => {
    navigator.clipboard?.writeText(link.dataset.carry).then(() => say("copied"), () => {});
  }));
  // A page out of the back-forward cache shows an old state with dead buttons.
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

  const invalid = page.querySelector("input[aria-invalid]");
  if (invalid) { invalid.focus(); }
  if (region.dataset.state === "approved") complete();
  else if (!over) listen();
  else page.querySelector("[data-for]:not([hidden]) h1")?.focus();
})();
