// Owns what the console's pages do beyond being pages: copying, times in the reader's own zone, and lists that follow.
// Every page works without it.

const every = 3000; // ms between looks at a list that has no stream

/** Says times as the reader would, and no longer than needed; the exact one stays as the title. */
function sayTimes(root) {
  const now = new Date();
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const day = { day: "numeric", month: "short" };
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const when = at.toDateString() === now.toDateString() ? clock
      : at.getFullYear() === now.getFullYear() ? { ...day, ...clock, second: undefined }
      : { ...day, year: "numeric" };
    time.title = time.dateTime;
    time.textContent = at.toLocaleString("en-GB", when);
  }
}

/** Shows the buttons that copy; they need a script and a secure page. */
function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const word = (button.dataset.word ??= button.textContent);
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = "Copied";
    document.getElementById("said").textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => (button.textContent = word), 1600);
});

/** The set-up link carries its code where servers do not see it. */
function takeFragment() {
  const field = document.querySelector("[data-from-fragment]");
  const input = field?.querySelector("input");
  if (input && location.hash.length > 20) {
    input.value = decodeURIComponent(location.hash.slice(1));
    field.hidden = true;
    history.replaceState(null, "", location.pathname);
  }
}

/** XMLHttpRequest parses a page without running what is in it, and without turning text into markup here. */
function fetchPage() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", location.pathname + location.search);
    request.setRequestHeader("X-Countersign-Refresh", "1"); // looking is not using: it keeps nobody signed in
    request.setRequestHeader("Accept", "text/html");
    request.responseType = "document";
    request.timeout = 10_000;
    request.onload = () => {
      if (request.status === 401) return location.reload(); // signed out meanwhile
      request.status === 200 ? resolve(request.response) : reject(new Error(`status ${request.status}`));
    };
    request.onerror = request.ontimeout = () => reject(new Error("no connection"));
    request.send();
  });
}

/** Keeps the parts of this page new that say data-live. */
class Follower {
  constructor(regions) {
    this.regions = regions;
    this.last = new Map(regions.map((region) => [region.id, region.innerHTML])); // as it came, before times were said
    this.state = document.querySelector("[data-livestate]");
  }

  start() {
    this.say(true);
    const stream = this.regions.find((region) => region.dataset.live)?.dataset;
    if (stream) {
      this.listen(stream);
    } else {
      setInterval(() => document.hidden || this.look(), every);
    }
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
  }

  listen({ live, event }) {
    const source = new EventSource(live);
    source.onopen = () => this.look(); // what came while nobody listened
    source.onerror = () => this.say(false);
    source.addEventListener(event, () => this.look());
  }

  async look() {
    if (this.looking) {
      this.again = true;
      return;
    }
    this.looking = true;
    try {
      const page = await fetchPage();
      for (const region of this.regions) this.renew(region, page.getElementById(region.id));
      this.say(true);
    } catch {
      this.say(false);
    }
    this.looking = false;
    if (this.again) {
      this.again = false;
      this.look();
    }
  }

  renew(region, fresh) {
    const html = fresh?.innerHTML;
    const selection = getSelection();
    const reading = !selection.isCollapsed && region.contains(selection.anchorNode);
    if (html === undefined || html === this.last.get(region.id) || reading) return;
    this.last.set(region.id, html);
    const known = new Set([...region.querySelectorAll("[id]")].map((part) => part.id));
    const panels = new Map([...region.querySelectorAll("details[id]")].map((part) => [part.id, part.open]));
    const focused = region.contains(document.activeElement) && document.activeElement.getAttribute("href");
    region.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
    dress(region);
    for (const panel of region.querySelectorAll("details[id]")) panel.open = panels.get(panel.id) ?? panel.open; // as the reader left it
    for (const row of region.querySelectorAll(":is(tr, .mail)[id]")) {
      row.classList.toggle("fresh", !known.has(row.id));
    }
    if (focused) region.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  say(live) {
    if (!this.state) return;
    this.state.hidden = false;
    this.state.textContent = live ? "Live" : "Not updating: no connection";
    this.state.classList.toggle("livestate--lost", !live);
  }
}

function dress(root) {
  sayTimes(root);
  offerCopies(root);
}

const regions = [...document.querySelectorAll("[data-live]")];
const follower = regions.length > 0 && new Follower(regions);
dress(document);
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // a phone shows four of eight
takeFragment();
if (follower) follower.start();
