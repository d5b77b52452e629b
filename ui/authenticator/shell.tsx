// Owns the frame around every page: the name, the navigation, and how fresh things are.

import type { ComponentChildren } from "preact";
import type { Link as Freshness } from "./live.ts";
import { Icon, type IconName } from "./parts/icons.tsx";
import { Link } from "./parts/link.tsx";
import { Wordmark } from "./parts/mark.tsx";
import { texts } from "./texts.ts";
import type { Page } from "./router.ts";

type ShellProps = {
  page: Page["name"];
  link: Freshness;
  /** How many requests wait. */
  waiting: number;
  children: ComponentChildren;
};

/** The frame of a device that is set up. */
export function Shell({ page, link, waiting, children }: ShellProps) {
  return (
    <div class={`shell shell--${page}`}>
      <header class="shell__head">
        <Link class="shell__home" href="/">
          <Wordmark />
        </Link>
        <LinkState link={link} />
      </header>
      <nav class="shell__nav" aria-label={texts.nav.label}>
        <Tab name="requests" href="/" current={page === "requests"} badge={waiting} />
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

function Tab(props: { name: IconName & ("requests" | "codes" | "devices"); href: string; current: boolean; badge?: number }) {
  const { name, href, current, badge = 0 } = props;
  return (
    <Link class="tab" href={href} aria-current={current ? "page" : undefined} data-testid={`nav-${name}`}>
      <span class="tab__icon">
        <Icon name={name} />
        {badge > 0 && <span class="tab__badge">{badge}</span>}
      </span>
      {texts.nav[name]}
    </Link>
  );
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
