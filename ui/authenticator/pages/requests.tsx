// Owns the list of waiting requests.

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { Approval } from "../api.ts";
import { useNow, type Clock } from "../clock.ts";
import type { LiveState } from "../live.ts";
import { AppLogo } from "../parts/applogo.tsx";
import { Heading } from "../parts/heading.tsx";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { Loading } from "../parts/loading.tsx";
import { Symbol } from "../parts/mark.tsx";
import { DoneNotice, ErrorNotice } from "../parts/notice.tsx";
import { Ring } from "../parts/ring.tsx";
import { useTitle } from "../parts/status.ts";
import { ago, moment, problem, texts, timeLeft } from "../texts.ts";
import "./requests.css";

type RequestsProps = {
  live: LiveState;
  clock: Clock;
  /** Applications that were just added, to be told once. */
  added: readonly string[];
  onAddedSeen: () => void;
  /** Shown above what waits. */
  notices: (now: number) => ComponentChildren;
  /** Shown below what waits. */
  children?: ComponentChildren;
};

/** Requests that are still open at `now`, Unix milliseconds. */
export function openAt(approvals: readonly Approval[], now: number): readonly Approval[] {
  return approvals.filter(({ expires_at }) => expires_at === 0 || expires_at * 1000 > now);
}

/** What waits for a decision. */
export function Requests({ live, clock, added, onAddedSeen, notices, children }: RequestsProps) {
  const now = useNow(clock, 1000);
  const waiting = live.approvals && openAt(live.approvals, now);
  const n = waiting?.length ?? 0;
  useEffect(() => onAddedSeen, []); // old news when the page is opened again
  useTitle(n > 0 ? `(${n}) ${texts.requests.title}` : texts.requests.title);
  if (!waiting) return <Unread live={live} />;
  return (
    <div class="requests">
      {notices(now)}
      {live.reports.map(({ application, account, device, at, until }) => (
        <ErrorNotice key={`${application} ${account}`} title={texts.request.reported(application, moment(until, now / 1000))}>
          {texts.request.reportedText(device, moment(at, now / 1000))}
        </ErrorNotice>
      ))}
      {added.length > 0 && <DoneNotice onDismiss={onAddedSeen}>{texts.added(added)}</DoneNotice>}
      <div class={n === 0 ? "centered" : "requests__some"}>
        {n === 0 && <Symbol name="empty" />}
        {/* One heading for both, so that a request that arrives does not pull the focus to it. */}
        <Heading key="heading">{texts.requests.heading(n)}</Heading>
        {n === 0 ? <Nothing /> : <List waiting={waiting} now={now} />}
      </div>
      {children}
    </div>
  );
}

function Nothing() {
  return (
    <>
      <p class="soft">{texts.requests.empty}</p>
      <p class="soft small">{texts.requests.emptyHint}</p>
    </>
  );
}

function List({ waiting, now }: { waiting: readonly Approval[]; now: number }) {
  return (
    <ul class={`requests__list ${waiting.length === 1 ? "requests__list--one" : ""}`}>
      {waiting.map((approval) => (
        <li key={approval.uuid}>
          <Item approval={approval} now={now} />
        </li>
      ))}
    </ul>
  );
}

/** Nothing was read yet: still loading, or there is no connection. */
function Unread({ live }: { live: LiveState }) {
  if (live.link !== "reconnecting") return <Loading text={texts.requests.loading} />;
  return (
    <div class="centered">
      <Symbol name="offline" />
      <Heading>{texts.requests.offlineTitle}</Heading>
      <p class="soft">{texts.requests.offline}</p>
      {live.trouble && <ErrorNotice>{problem(live.trouble, "", 0)}</ErrorNotice>}
      <Link class="button button--outline" href="/codes">
        {texts.requests.seeCodes}
      </Link>
    </div>
  );
}

function Item({ approval, now }: { approval: Approval; now: number }) {
  const { application, account, message, expires_at, created_at } = approval;
  const left = expires_at * 1000 - now;
  const urgent = expires_at !== 0 && left < 30_000;
  return (
    <Link class="request-item" href={`/approvals/${approval.uuid}`} data-testid="request-item" data-uuid={approval.uuid}>
      <span class="request-item__head">
        <AppLogo name={application.name} digest={approval.logo} size={48} />
        <span class="request-item__who">
          <bdi class="request-item__app">{application.name}</bdi>
          <bdi class="soft small">{account}</bdi>
        </span>
        {expires_at !== 0 && (
          <span class={`request-item__left ${urgent ? "request-item__left--urgent" : ""}`} aria-hidden="true">
            {timeLeft(left / 1000)}
            <Ring run={approval.uuid} total={(expires_at - created_at) * 1000} left={left} size={22} urgent={urgent} />
          </span>
        )}
      </span>
      <span class="request-item__message" dir="auto">
        {message}
      </span>
      <span class="request-item__foot">
        <span class="soft small">{ago(created_at, now / 1000)}</span>
        <span class="request-item__go">
          {texts.requests.review}
          <Icon name="forward" size={20} />
        </span>
      </span>
    </Link>
  );
}
