// Owns the service worker: it keeps the app's own files, so that codes work without a network. It
// never touches /device/, and pages come from the network whenever there is one.

/** Filled in by tools/bundle: every file of the app, and a name that changes with any of them. */
declare const SHELL: readonly string[];
declare const VERSION: string;

// The two event types, since TypeScript's library for workers and the one for pages exclude each other.
type Installing = Event & { waitUntil(work: Promise<unknown>): void };
type Fetching = Event & { readonly request: Request; respondWith(answer: Promise<Response>): void };
const worker = self as unknown as EventTarget & {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
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

export {};
