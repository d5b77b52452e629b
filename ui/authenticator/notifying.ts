// Owns what an open page does about notifications. The server leaves a device whose page has read a request
// to that page, so a page that nobody looks at has the worker say what came; and it takes away what is over.

import type { Approval } from "./api.ts";
import { inTurn, requestOf } from "./notification.ts";
import { load } from "./store.ts";

async function registration(): Promise<ServiceWorkerRegistration | undefined> {
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return undefined;
  if ((await load()).notifications !== "on") return undefined;
  return navigator.serviceWorker.getRegistration();
}

/** Shows a request that came while the page was hidden. */
export async function notifyHidden({ uuid, application }: Approval): Promise<void> {
  const call = { id: uuid, application: application.name };
  (await registration())?.active?.postMessage(JSON.stringify(call));
}

/** Takes away the notifications of requests that wait no longer. Waiting is asked last: a request may come while the others are looked for. */
export async function closeEnded(waiting: () => readonly Approval[]): Promise<void> {
  const shows = await registration();
  const all = shows ? await inTurn(() => shows.getNotifications()) : [];
  const open = new Set(waiting().map(({ uuid }) => uuid));
  for (const shown of all) {
    const uuid = requestOf(shown.tag);
    if (uuid && !open.has(uuid)) shown.close();
  }
}
