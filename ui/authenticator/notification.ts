// Owns what a notification says: which application asks, and nothing more, because it is read on locked
// screens (security reference T-18). The worker and the page show the same.

import { notification as words } from "./texts.ts";

/** What a push tells: a request and who asks; nothing when it could not be read. */
export type Call = { readonly id: string; readonly application: string } | undefined;

const MAX_NAME = 100;

/** Reads a push message. Whatever it is, the answer can be shown. */
export function readPush(text: string): Call {
  try {
    const { id, application } = JSON.parse(text) as { id?: unknown; application?: unknown };
    if (typeof id !== "string" || !/^[0-9a-zA-Z-]{1,64}$/.test(id)) return undefined;
    if (typeof application !== "string" || application.trim() === "") return undefined;
    return { id, application: application.slice(0, MAX_NAME) };
  } catch {
    return undefined;
  }
}

const PREFIX = "approval:";

/** The name under which a newer notification takes the place of an older one. */
export const tagOf = (call: Call): string => (call ? PREFIX + call.id : "call");

/** The request that a notification is about; undefined for none. */
export const requestOf = (tag: string): string | undefined =>
  tag.startsWith(PREFIX) ? tag.slice(PREFIX.length) : undefined;

/**
 * Runs one after another, in the worker and in every page, what shows a notification and what looks for those
 * shown: Chromium forgets one that is looked for while it is being shown, and then it can be neither opened nor
 * taken away.
 */
export async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const last = AbortSignal.timeout(PATIENCE);
  try {
    return await navigator.locks.request("notifications", { signal: last }, work);
  } catch (error) {
    if (error !== last.reason) throw error;
    return work(); // a page that sleeps may keep the lock, and what came must be shown all the same
  }
}

/** How long to wait for a turn, milliseconds. */
const PATIENCE = 2_000;

/** `files` are the app's own, to find the pictures among; `silent` when somebody looks at the app. */
export function notificationOf(
  call: Call,
  files: readonly string[],
  silent: boolean,
): { title: string; options: NotificationOptions } {
  const picture = (name: string) => files.find((path) => path.startsWith(`/assets/${name}`))!;
  return {
    title: call ? words.title(call.application) : words.unreadableTitle,
    options: {
      body: call ? words.body : words.unreadable,
      tag: tagOf(call),
      // Asked again, heard again. Not in TypeScript's library, since Safari does not know it.
      ...({ renotify: true } as object),
      silent,
      lang: words.language,
      icon: picture("icon-192-"),
      badge: picture("badge-96-"),
      data: { id: call?.id },
    },
  };
}
