// Owns the push subscription: having the right one, and the server knowing it. The page and the worker
// use it alike.

import { base64url } from "./canonical.ts";
import { Problem, type PushState, type Session } from "./api.ts";
import { load, update } from "./store.ts";

/** How long a browser may take to subscribe, milliseconds. Without its push service some never answer. */
const PATIENCE = 12_000;

/**
 * Makes the subscription the server's: made with its key, and kept there. Returns false when the server
 * sends no notifications. Needs the permission to show them.
 */
export async function renew(registration: ServiceWorkerRegistration, session: Session): Promise<boolean> {
  const state = await session.push();
  if (!state.enabled) return false;
  let subscription = await registration.pushManager.getSubscription();
  if (subscription && (keyOf(subscription) !== state.key || (await hasEnded(subscription, state)))) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await inTime(
    registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: state.key }),
  );
  const hash = await hashOf(subscription.endpoint);
  if (hash === state.endpoint_hash) return true;
  await session.subscribe({
    endpoint: subscription.endpoint,
    p256dh: partOf(subscription, "p256dh"),
    auth: partOf(subscription, "auth"),
    key: state.key,
  });
  await update(() => ({ subscribed: hash }));
  return true;
}

/** The server took it once and has it no more: the push service said that it ended, which not every browser hears. */
async function hasEnded({ endpoint }: PushSubscription, { endpoint_hash }: PushState): Promise<boolean> {
  return endpoint_hash === "" && (await load()).subscribed === (await hashOf(endpoint));
}

/** Ends the subscription, here and there. */
export async function end(registration: ServiceWorkerRegistration, session: Session): Promise<void> {
  const subscription = await registration.pushManager.getSubscription();
  await subscription?.unsubscribe();
  await session.unsubscribe();
}

/** What `promise` gives, or the problem "push-silent". */
export function inTime<T>(promise: Promise<T>): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Problem("push-silent")), PATIENCE);
  });
  return Promise.race([promise, late]);
}

function keyOf(subscription: PushSubscription): string {
  const key = subscription.options.applicationServerKey;
  return key ? base64url(key) : "";
}

function partOf(subscription: PushSubscription, name: PushEncryptionKeyName): string {
  return base64url(subscription.getKey(name) ?? new ArrayBuffer(0));
}

async function hashOf(endpoint: string): Promise<string> {
  return base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(endpoint)));
}
