// Owns every request to the device API (/device/v1): JSON in and out, problem codes, and signing in
// again by itself when the session has ended.

import { enrolmentValue, sessionValue, type Context, type Decision, type Field } from "./canonical.ts";
import { sign, type DeviceKey } from "./keys.ts";
import type { Device, Grant, Platform } from "./store.ts";

/** One request for a decision. Times are Unix seconds; an expiry of 0 means never. */
export interface Approval {
  readonly uuid: string;
  readonly application: { readonly id: string; readonly name: string };
  readonly account: string;
  readonly logo: string;
  readonly message: string;
  readonly details: readonly Field[];
  readonly context?: Context;
  readonly created_at: number;
  readonly expires_at: number;
  readonly status: "pending" | "approved" | "denied" | "expired" | "cancelled";
  readonly match: { readonly mode: string; readonly digits: number };
  readonly sign: {
    readonly origin: string;
    readonly device: string;
    readonly user: number;
    readonly hidden: string;
    readonly nonce: string;
    readonly issued_at: number;
  };
}

/** Somebody said on one of the person's devices that a request was not theirs. Times are Unix seconds. */
export interface Report {
  readonly application: string;
  readonly account: string;
  readonly device: string;
  readonly at: number;
  /** Until then the application asks nothing. */
  readonly until: number;
}

/** Somebody wants the account of a grant to begin anew, without this device. Times are Unix seconds. */
export interface Reset {
  readonly grant: number;
  readonly application: string;
  readonly account: string;
  readonly asked_at: number;
  /** 0 before an operator allowed it. */
  readonly due_at: number;
}

/** One device of an account that this device may see. */
export interface OtherDevice {
  readonly grant: number;
  readonly application: { readonly id: string; readonly name: string };
  readonly account: string;
  readonly name: string;
  readonly platform: Platform;
  readonly enrolled_at: number;
  readonly last_seen_at: number;
  readonly this: boolean;
}

export interface SignedAnswer {
  readonly decision: Decision;
  readonly match: string;
  readonly signature: string;
}

/** What the server knows of this device's notifications. */
export interface PushState {
  /** Whether the server sends any. */
  readonly enabled: boolean;
  /** The applicationServerKey, base64url. */
  readonly key: string;
  /** base64url SHA-256 of the endpoint that it keeps, "" for none. */
  readonly endpoint_hash: string;
}

/** A grant as it is told once, at enrolment; `secret` is base32. */
export type NewGrant = Grant & { readonly secret: string };

/** What proves the right to a grant: a sent code, or a ticket. */
export type Claim =
  | { readonly enrollment: string; readonly code: string }
  | { readonly ticket: string };

/** How long one request may take, milliseconds. */
const PATIENCE = 15_000;

/**
 * A request that was refused or not answered. `code` is the server's problem code, or one of ours:
 * network (no answer), removed (this device is no longer known), wrong-origin (opened at another
 * address than the one that is signed; `detail` is the right one).
 */
export class Problem extends Error {
  constructor(
    readonly code: string,
    readonly detail = "",
    /** Seconds to wait before the next try; 0 when not told. */
    readonly retryAfter = 0,
  ) {
    super(code);
  }
}

/** Any thrown value as a Problem. */
export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem("unexpected", String(error));
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(`/device/v1/${path}`, {
      method,
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    text = await answer.text();
  } catch {
    throw new Problem("network");
  }
  const value = parse(text);
  if (answer.ok) return value as T;
  throw problemOf(answer, value);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // an empty 204, or a proxy's error page
  }
}

function problemOf(answer: Response, value: unknown): Problem {
  const body = (value ?? {}) as { type?: string; detail?: string; retry_after?: number };
  const code = /^\/problems\/([a-z-]+)$/.exec(body.type ?? "")?.[1];
  const wait = body.retry_after ?? Number(answer.headers.get("Retry-After") ?? 0);
  return new Problem(code ?? (answer.status >= 500 ? "unavailable" : "unexpected"), body.detail, wait || 0);
}

/** A fresh challenge. Refuses when the server signs for another origin than the one we run on. */
async function challenge(): Promise<{ challenge: string; origin: string }> {
  const fresh = await call<{ challenge: string; origin: string }>("GET", "challenge");
  if (fresh.origin !== location.origin) throw new Problem("wrong-origin", fresh.origin);
  return fresh;
}

/** Asks for a code by SMS. Answers alike whether or not the number is known. */
export function requestCode(phone: string): Promise<{ enrollment: string; expires_at: number }> {
  return call("POST", "enrollments", { phone });
}

/** Tells what a ticket would add, without using it. */
export function lookAt(ticket: string): Promise<{ application: string; account: string; expires_at: number }> {
  return call("POST", "tickets/look", { ticket });
}

/** Enrols this device's key, or adds accounts to it when the key is enrolled already. */
export async function enrol(
  claim: Claim,
  key: DeviceKey,
  device: { readonly name: string; readonly platform: Platform },
): Promise<{ device: string; grants: readonly NewGrant[] }> {
  const fresh = await challenge();
  const token = "ticket" in claim ? claim.ticket : claim.enrollment;
  const proof = enrolmentValue({ ...fresh, public_key: key.publicKey, token });
  return call("POST", "enrollments/confirm", {
    ...claim,
    challenge: fresh.challenge,
    device: { ...device, public_key: key.publicKey },
    proof: await sign(key.privateKey, proof),
  });
}

/** The calls of an enrolled device. A session that has ended is renewed unseen, with the device's key. */
export class Session {
  private renewing: Promise<void> | undefined;

  constructor(
    private readonly device: Device,
    private readonly key: CryptoKey,
  ) {}

  approvals = () =>
    this.call<{ approvals: readonly Approval[]; reports?: readonly Report[]; server_time: number }>("GET", "approvals");

  approval = (uuid: string) => this.call<Approval>("GET", `approvals/${encodeURIComponent(uuid)}`);

  answer = (uuid: string, answer: SignedAnswer) =>
    this.call<{ status: "approved" | "denied"; processed_at: number }>(
      "POST",
      `approvals/${encodeURIComponent(uuid)}/answer`,
      answer,
    );

  grants = () =>
    this.call<{ grants: readonly Grant[]; resets?: readonly Reset[]; device: Device; server_time: number }>("GET", "grants");

  devices = () => this.call<{ devices: readonly OtherDevice[] }>("GET", "devices");

  stopReset = (grant: number) => this.call<void>("DELETE", `grants/${grant}/reset`);

  removeGrant = (id: number) => this.call<void>("DELETE", `grants/${id}`);

  push = () => this.call<PushState>("GET", "push");

  subscribe = (subscription: {
    readonly endpoint: string;
    readonly p256dh: string;
    readonly auth: string;
    readonly key: string;
  }) => this.call<void>("PUT", "push", subscription);

  unsubscribe = () => this.call<void>("DELETE", "push");

  signOut = () => call<void>("DELETE", "sessions");

  private async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    try {
      return await call<T>(method, path, body);
    } catch (error) {
      if (asProblem(error).code !== "not-signed-in") throw error;
    }
    await this.renew();
    return call<T>(method, path, body);
  }

  /** Signs in again, once for all that wait for it. */
  private renew(): Promise<void> {
    this.renewing ??= this.signIn(2).finally(() => (this.renewing = undefined));
    return this.renewing;
  }

  private async signIn(tries: number): Promise<void> {
    const { origin, challenge: fresh } = await challenge();
    const proof = sessionValue({ challenge: fresh, device: this.device.id, origin });
    try {
      await call("POST", "sessions", {
        challenge: fresh,
        device: this.device.id,
        proof: await sign(this.key, proof),
      });
    } catch (error) {
      if (asProblem(error).code !== "not-signed-in") throw error;
      // A challenge can be too old when the phone slept between the two calls; a second refusal is meant.
      if (tries > 1) return this.signIn(tries - 1);
      throw new Problem("removed");
    }
  }
}
