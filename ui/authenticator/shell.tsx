// Owns the frame around every page: the name, the navigation, and how fresh things are.

import type { ComponentChildren } from "preact";
import { useNow, type Clock } from "./clock.ts";
import type { Link as Freshness, LiveState } from "./live.ts";
import { openAt } from "./pages/requests.tsx";
import { Icon } from "./parts/icons.tsx";
import { Link } from "./parts/link.tsx";
import { Wordmark } from "./parts/mark.tsx";
import { texts } from "./texts.ts";
import type { Page } from "./router.ts";
import "./shell.css";

type ShellProps = {
  page: Page["name"];
  live: LiveState;
  clock: Clock;
  children: ComponentChildren;
};

/** The frame of a device that is set up. */
export function Shell({ page, live, clock, children }: ShellProps) {
  return (
    <div class={`shell shell--${page}`}>
      <header class="shell__head">
        <Link class="shell__home" href="/">
          <Wordmark />
        </Link>
        <LinkState link={live.link} />
      </header>
      <nav class="shell__nav" aria-label={texts.nav.label}>
        <Tab name="requests" href="/" current={page === "requests"}>
          <Badge live={live} clock={clock} />
        </Tab>
        <Tab name="codes" href="/codes" current={page === "codes"} />
        <Tab name="devices" href="/devices" current={page === "devices"} />
      </nav>
      {/* Another page begins at its top. */}
      <main class="shell__main" key={page}>
        {children}
      </main>
    </div>
  );
}

/** The frame before that: no navigation, since there is nowhere to go. */
export function Bare({ children }: { children: ComponentChildren }) {
  return (
    <div class="shell shell--bare">
      <header class="shell__head">
        <span class="shell__home">
          <Wordmark />
        </span>
      </header>
      <main class="shell__main">{children}</main>
    </div>
  );
}

type TabProps = {
  name: "requests" | "codes" | "devices";
  href: string;
  current: boolean;
  children?: ComponentChildren;
};

function Tab({ name, href, current, children }: TabProps) {
  return (
    <Link class="tab" href={href} aria-current={current ? "page" : undefined} data-testid={`nav-${name}`}>
      <span class="tab__icon">
        <Icon name={name} />
        {children}
      </span>
      {texts.nav[name]}
    </Link>
  );
}

/** How many requests wait; it ticks, because they run out of time by themselves. */
function Badge({ live, clock }: { live: LiveState; clock: Clock }) {
  const waiting = openAt(live.approvals ?? [], useNow(clock, 1000)).length;
  return waiting > 0 ? <span class="tab__badge">{waiting}</span> : null;
}

/** Says something only when it is worth saying: nothing while all is well. */
function LinkState({ link }: { link: Freshness }) {
  const offline = link === "reconnecting" && !navigator.onLine;
  const text = offline ? texts.link.offline : texts.link[link];
  return (
    <p class={`linkstate linkstate--${offline ? "offline" : link}`} role="status" data-testid="link-state" data-link={link}>
      <span class={link === "live" || link === "connecting" ? "unseen" : "linkstate__text"}>{text}</span>
    </p>
  );
}
