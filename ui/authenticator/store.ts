// Owns what the app keeps in IndexedDB: the device key, the grants with their code keys, the distance
// to the server's clock. Keys are stored as CryptoKey objects, never as bytes or text.

import type { DeviceKey } from "./keys.ts";

export type Platform = "android" | "iphone" | "ipad" | "desktop" | "terminal";

/** This device as the server knows it. */
export interface Device {
  readonly id: string;
  readonly name: string;
  readonly platform: Platform;
}

/** One account on this device, as the server lists it. Times are Unix seconds, the period is seconds. */
export interface Grant {
  readonly id: number;
  readonly application: { readonly id: string; readonly name: string };
  readonly account: string;
  readonly digits: number;
  readonly period: number;
  readonly enrolled_at: number;
}

/** A grant with the key that makes its codes; none when the secret was lost with an answer. */
export interface KeptGrant extends Grant {
  readonly secret?: CryptoKey;
}

/** An enrolment by phone number that waits for its code, so that it survives a switch to the messages. */
export interface Pending {
  readonly enrollment: string;
  readonly phone: string;
  readonly expires_at: number;
}

export interface Kept {
  key: DeviceKey;
  device: Device;
  grants: readonly KeptGrant[];
  /** How often accounts were added; tells a reader that its list of grants is from before. */
  enrolments: number;
  /** Server time minus this device's time, milliseconds. */
  offset: number;
  pending: Pending;
  /** What was decided about notifications here; nothing while it was not asked. */
  notifications: "on" | "off";
  /** The hash of the subscription that the server took last. */
  subscribed: string;
}

const STORE = "kept";

function open(): Promise<IDBDatabase> {
  const req = indexedDB.open("countersign", 1);
  return new Promise((resolve, reject) => {
    req.onupgradeneeded = () => req.result.createObjectStore(STORE);
    req.onsuccess = () => resolve(req.result);
    req.onerror = () => reject(req.error);
  });
}

/** Runs one transaction on its own connection; resolves when it is committed. */
async function transact(mode: IDBTransactionMode, act: (store: IDBObjectStore) => void): Promise<void> {
  const db = await open();
  try {
    await new Promise<void>((resolve, reject) => {
      // Strict: a secret is told once, so it must be on the disk before we say that it is there.
      const tx = db.transaction(STORE, mode, { durability: "strict" });
      tx.oncomplete = () => resolve();
      tx.onerror = tx.onabort = () => reject(tx.error);
      act(tx.objectStore(STORE));
    });
  } finally {
    db.close();
  }
}

/** Reads all members inside a transaction and hands them on within it. */
function readAll(store: IDBObjectStore, then: (kept: Partial<Kept>) => void): void {
  const names = store.getAllKeys();
  const values = store.getAll();
  values.onsuccess = () => then(Object.fromEntries(names.result.map((name, i) => [name, values.result[i]])));
}

/** Everything kept; members that were never saved are absent. */
export async function load(): Promise<Partial<Kept>> {
  let all: Partial<Kept> = {};
  await transact("readonly", (store) => readAll(store, (kept) => (all = kept)));
  return all;
}

/**
 * Changes what is kept in one step: other tabs see all of it or nothing, and what they saved meanwhile
 * is in `kept`. Members that `decide` returns are saved; those that are undefined there are removed.
 */
export function update(
  decide: (kept: Partial<Kept>) => { [name in keyof Kept]?: Kept[name] | undefined },
): Promise<void> {
  return transact("readwrite", (store) =>
    readAll(store, (kept) => {
      for (const [name, value] of Object.entries(decide(kept))) {
        if (value === undefined) store.delete(name);
        else store.put(value, name);
      }
    }),
  );
}

/** Forgets all: keys, accounts, codes. Cannot be undone. */
export function forget(): Promise<void> {
  return transact("readwrite", (store) => store.clear());
}
