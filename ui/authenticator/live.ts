// Owns keeping up with the server: the event stream, re-reading when something may have changed, and
// polling while the stream is down. The server's rows are the truth; an event only says "read again".

import { asProblem, type Approval, type Report, type Reset, type Session } from "./api.ts";
import type { Clock } from "./clock.ts";
import { comeBack } from "./goodbye.ts";
import { load, update, type Grant, type KeptGrant } from "./store.ts";

/** Pause between two reads while the stream is down, milliseconds. */
const POLL = 3_000;

/** The pause is at least so many times as long as the last read took: where everybody lost their streams at once, reads must not keep the server from recovering. */
const SLOWER = 5;

/** A stream can die without a sound (a network that forgot us), so a page in view reads now and then. */
const DOUBT = 60_000;

/**
 * How fresh the lists are. live: the stream is open. polling: no stream, reads work. reconnecting: the
 * last read failed. connecting: nothing is known yet.
 */
export type Link = "connecting" | "live" | "polling" | "reconnecting";

export interface LiveState {
  readonly link: Link;
  /** Waiting requests, newest first; undefined until the first read. */
  readonly approvals: readonly Approval[] | undefined;
  /** What was said not to be the person's, while it stops requests. */
  readonly reports: readonly Report[];
  /** New starts without this device that were asked for. */
  readonly resets: readonly Reset[];
  readonly grants: readonly KeptGrant[];
  /** The server no longer knows this device, or it has no account left. */
  readonly removed: boolean;
  /** The last error of a read that was not a lost network; "" when there is none. */
  readonly trouble: string;
}

/** Follows the waiting requests and the accounts of one enrolled device. */
export class Live {
  state: LiveState;
  private readonly listeners = new Set<() => void>();
  private readonly stopping = new AbortController();
  private stream: EventSource | undefined;
  private poll: number | undefined;
  private doubt: number | undefined;
  private grantsRead = false;
  private readonly readApprovals = coalesced(() => this.reading(() => this.fetchApprovals()));
  private readonly readGrants = coalesced(() => this.reading(() => this.fetchGrants()));

  constructor(
    private readonly session: Session,
    private readonly clock: Clock,
    grants: readonly KeptGrant[],
  ) {
    this.state = { link: "connecting", approvals: undefined, reports: [], resets: [], grants, removed: false, trouble: "" };
  }

  /** Opens the stream and begins to read. */
  start(): void {
    const { signal } = this.stopping;
    const wake = () => {
      if (document.visibilityState === "visible") this.refresh();
    };
    document.addEventListener("visibilitychange", wake, { signal });
    window.addEventListener("focus", wake, { signal });
    window.addEventListener("online", wake, { signal });
    window.addEventListener("offline", () => this.set({ link: "reconnecting" }), { signal });
    this.doubt = window.setInterval(wake, DOUBT);
    this.connect();
    this.pollAfter(POLL);
    this.refresh();
  }

  /** Ends everything that start began. */
  stop(): void {
    this.stopping.abort();
    this.stream?.close();
    clearTimeout(this.poll);
    clearInterval(this.doubt);
  }

  /** Calls back after each change of state; the returned function ends that. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Reads both lists again. */
  refresh(): void {
    void this.readApprovals();
    void this.readGrants();
  }

  /** Takes a request off the list at once, without waiting for the next read. */
  settle(uuid: string): void {
    this.set({ approvals: this.state.approvals?.filter((approval) => approval.uuid !== uuid) });
  }

  private set(part: Partial<LiveState>): void {
    this.state = { ...this.state, ...part };
    for (const listener of this.listeners) listener();
  }

  private connect(): void {
    this.stream?.close();
    const stream = new EventSource("/device/v1/events");
    this.stream = stream;
    // Subscribed first, read after: what happened in between is not missed.
    stream.onopen = () => {
      this.set({ link: "live" });
      this.refresh();
    };
    stream.addEventListener("approvals", () => void this.readApprovals());
    stream.addEventListener("grants", () => void this.readGrants());
    stream.addEventListener("bye", ({ data }) => {
      stream.close();
      this.lost(comeBack(data, spread()));
    });
    stream.onerror = () => this.lost();
  }

  /** The stream is down. It tries again by itself and fails each time, so polling goes on unmoved. */
  private lost(pause = spread()): void {
    if (this.stopping.signal.aborted) return;
    if (this.state.link !== "polling") this.set({ link: "reconnecting" });
    this.pollAfter(pause);
  }

  private pollAfter(pause: number): void {
    if (this.stopping.signal.aborted) return;
    this.poll ??= window.setTimeout(() => void this.tick(), pause);
  }

  private async tick(): Promise<void> {
    this.poll = undefined;
    if (this.stream?.readyState === EventSource.OPEN && this.state.link === "live") return;
    const begun = performance.now();
    await Promise.all([this.readApprovals(), this.grantsRead || this.readGrants()]);
    if (this.stopping.signal.aborted) return;
    // A stream that was refused (a session that had ended, a server that was down) does not come back
    // by itself; the read above has signed in again by now.
    if (this.stream?.readyState === EventSource.CLOSED) this.connect();
    this.pollAfter(pauseSince(begun));
  }

  private async reading(read: () => Promise<void>): Promise<void> {
    const begun = performance.now();
    try {
      await read();
      if (this.stopping.signal.aborted) return;
      const open = this.stream?.readyState === EventSource.OPEN;
      this.set({ link: open ? "live" : "polling", trouble: "" });
    } catch (error) {
      if (this.stopping.signal.aborted) return;
      const { code, retryAfter } = asProblem(error);
      if (code === "removed") return this.gone();
      this.set({ link: "reconnecting", trouble: code === "network" ? "" : code });
      this.pollAfter(Math.max(pauseSince(begun), retryAfter * 1000));
    }
  }

  private async fetchApprovals(): Promise<void> {
    const { approvals, reports } = await this.clock.measure(this.session.approvals);
    this.set({ approvals: approvals.filter(({ status }) => status === "pending"), reports: reports ?? [] });
  }

  private async fetchGrants(): Promise<void> {
    this.grantsRead = false;
    const { enrolments } = await load();
    const answer = await this.clock.measure(this.session.grants);
    let grants: readonly KeptGrant[] | undefined;
    await update((kept) => {
      // An account was added while we read: this list may lack it, and its secret is told only once.
      if (kept.enrolments !== enrolments) return {};
      const secrets = new Map(kept.grants?.map((grant) => [grant.id, grant.secret]));
      grants = answer.grants.map((grant) => withSecret(grant, secrets.get(grant.id)));
      return { grants, device: answer.device, offset: this.clock.offset };
    });
    if (this.stopping.signal.aborted) return;
    if (grants === undefined) return this.fetchGrants();
    this.grantsRead = true;
    if (grants.length === 0) this.gone();
    else this.set({ grants, resets: answer.resets ?? [] });
  }

  private gone(): void {
    this.stop();
    this.set({ removed: true, approvals: [] });
  }
}

/** When to read after a stream broke: spread out, so that a restarted server is not met by everyone in the same moment. */
function spread(): number {
  return POLL * (0.5 + Math.random() / 2);
}

/** How long to leave the server alone after a read that began then. */
function pauseSince(begun: number): number {
  return Math.max(POLL, SLOWER * (performance.now() - begun));
}

function withSecret(grant: Grant, secret: CryptoKey | undefined): KeptGrant {
  return secret ? { ...grant, secret } : grant;
}

/** Runs one at a time; calls made meanwhile share one more run at the end, so the last word is read. */
function coalesced(act: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let again = false;
  return () => {
    if (running) {
      again = true;
      return running;
    }
    const loop = async () => {
      do {
        again = false;
        await act();
      } while (again);
    };
    running = loop().finally(() => (running = undefined));
    return running;
  };
}
