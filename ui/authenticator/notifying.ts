// Owns what an open page has its worker do about notifications. The server leaves a device whose page has read
// a request to that page, so a page that nobody looks at has the worker say what came; and what is over is
// taken away. The worker does both, because it alone can do them in turn.

import type { Approval } from "./api.ts";
import { ENDED } from "./notification.ts";
import { load } from "./store.ts";

async function tell(message: string): Promise<void> {
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
  if ((await load()).notifications !== "on") return;
  (await navigator.serviceWorker.getRegistration())?.active?.postMessage(message);
}

/** Shows a request that came while the page was hidden. */
export function notifyHidden({ uuid, application }: Approval): Promise<void> {
  return tell(JSON.stringify({ id: uuid, application: application.name }));
}

/** Takes away the notifications of requests that wait no longer. */
export function closeEnded(): Promise<void> {
  return tell(ENDED);
}
