// Owns the service worker: it keeps the app's own files, so that codes work without a network, and shows
// a notification for every push. It never caches /device/, pages come from the network whenever there is
// one, and it decides nothing: a request is approved where it is read.

import { asProblem, Session } from "./api.ts";
import { inTurn, notificationOf, readPush, requestOf, tagOf, type Call } from "./notification.ts";
import { renew } from "./push.ts";
import { load } from "./store.ts";

/** Filled in by tools/bundle: every file of the app, and a name that changes with any of them. */
declare const SHELL: readonly string[];
declare const VERSION: string;

// The two event types, since TypeScript's library for workers and the one for pages exclude each other.
type Installing = Event & { waitUntil(work: Promise<unknown>): void };
type Fetching = Event & { readonly request: Request; respondWith(answer: Promise<Response>): void };
type Pushed = Installing & { readonly data: { text(): string } | null };
type Told = Installing & { readonly data: unknown };
type Clicked = Installing & { readonly notification: Notification };
type Page = { readonly visibilityState: string; focus(): Promise<unknown>; postMessage(message: unknown): void };
const worker = self as unknown as EventTarget & {
  registration: ServiceWorkerRegistration;
  skipWaiting(): Promise<void>;
  clients: {
    claim(): Promise<void>;
    matchAll(which: { type: "window"; includeUncontrolled: boolean }): Promise<readonly Page[]>;
    openWindow(path: string): Promise<unknown>;
  };
};

const CACHE = `countersign-${VERSION}`;

/** How long a page may take before the kept one is shown, milliseconds. */
const PATIENCE = 4_000;

worker.addEventListener("install", (event) => {
  const install = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(SHELL.map((path) => new Request(path, { cache: "no-cache" })));
    await worker.skipWaiting();
  };
  (event as Installing).waitUntil(install());
});

worker.addEventListener("activate", (event) => {
  const activate = async () => {
    const old = (await caches.keys()).filter((name) => name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await worker.clients.claim();
  };
  (event as Installing).waitUntil(activate());
});

worker.addEventListener("fetch", (event) => {
  const { request } = event as Fetching;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith("/device/")) return;
  if (request.mode === "navigate") (event as Fetching).respondWith(page(request));
  else if (SHELL.includes(url.pathname)) (event as Fetching).respondWith(file(request));
});

async function page(request: Request): Promise<Response> {
  try {
    const fresh = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    if (fresh.status < 500) return fresh;
  } catch {
    // No network: the kept page below.
  }
  return (await caches.match("/")) ?? Response.error();
}

async function file(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}

worker.addEventListener("push", (event) => {
  const { data } = event as Pushed;
  (event as Pushed).waitUntil(pushed(data));
});

/** Shows something whatever came: browsers end a subscription whose pushes show nothing. */
async function pushed(data: Pushed["data"]): Promise<void> {
  let text = "";
  try {
    text = data?.text() ?? "";
  } catch {
    // Not even text: shown as what it is, a call.
  }
  const call = readPush(text);
  await show(call);
  await closeEnded(tagOf(call)).catch(() => undefined); // it can wait until the app is opened
}

async function show(call: Call): Promise<void> {
  const { title, options } = notificationOf(call, SHELL, await someoneLooks());
  await inTurn(() => worker.registration.showNotification(title, options));
}

// A page that is open but hidden has read of a request, and has it shown here.
worker.addEventListener("message", (event) => {
  (event as Told).waitUntil(show(readPush(String((event as Told).data))));
});

const pages = () => worker.clients.matchAll({ type: "window", includeUncontrolled: true });

/** Whether the app is on the screen, where the request appears by itself: then no sound is needed. */
async function someoneLooks(): Promise<boolean> {
  const open = await pages().catch(() => []);
  return open.some((page) => page.visibilityState === "visible");
}

/** How many older notifications are looked after in one push. */
const LOOK_AFTER = 8;

/** Takes away older notifications of requests that are decided or over. */
async function closeEnded(but: string): Promise<void> {
  const all = await inTurn(() => worker.registration.getNotifications());
  const older = all.filter(({ tag }) => tag !== but && requestOf(tag));
  if (older.length === 0) return;
  const session = await openSession();
  for (const notification of older.slice(-LOOK_AFTER)) {
    if (!(await waits(session, requestOf(notification.tag)!))) notification.close();
  }
}

async function waits(session: Session | undefined, id: string): Promise<boolean> {
  try {
    return (await session?.approval(id))?.status === "pending";
  } catch (error) {
    if (asProblem(error).code === "unknown") return false;
    throw error;
  }
}

async function openSession(): Promise<Session | undefined> {
  const { device, key } = await load();
  return device && key && new Session(device, key.privateKey);
}

worker.addEventListener("notificationclick", (event) => {
  const { notification } = event as Clicked;
  notification.close();
  const { id } = (notification.data ?? {}) as { id?: string };
  (event as Clicked).waitUntil(open(id ? `/approvals/${id}` : "/"));
});

/** Brings the app to the front, at that page. */
async function open(path: string): Promise<void> {
  const all = await pages();
  const page = all.find(({ visibilityState }) => visibilityState === "visible") ?? all[0];
  if (!page) return void (await worker.clients.openWindow(path));
  page.postMessage({ open: path });
  await page.focus();
}

worker.addEventListener("pushsubscriptionchange", (event) => {
  const resubscribe = async () => {
    const session = await openSession();
    if (session && (await load()).notifications === "on") await renew(worker.registration, session);
  };
  (event as Installing).waitUntil(resubscribe());
});
