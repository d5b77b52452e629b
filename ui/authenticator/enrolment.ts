// Owns making this browser a device: its key, its name, and keeping what the server tells once.

import { asProblem, enrol, type Claim, type NewGrant } from "./api.ts";
import { makeKey, type DeviceKey } from "./keys.ts";
import { load, update, type KeptGrant, type Platform } from "./store.ts";
import { texts } from "./texts.ts";
import { importSecret } from "./totp.ts";

/**
 * Enrols this device with a claim, or adds accounts to it. The key is kept before it is used, so that
 * a try that was cut off is repeated with the same one. Returns the new accounts' application names.
 */
export async function enrolHere(claim: Claim, name: string): Promise<readonly string[]> {
  const key = await ownKey();
  const device = { name, platform: platformOf(navigator) };
  try {
    const answer = await enrol(claim, key, device);
    const added = await Promise.all(answer.grants.map(keep));
    await update((kept) => ({
      device: { id: answer.device, ...device },
      grants: [...(kept.grants ?? []).filter((old) => !added.some(({ id }) => id === old.id)), ...added],
      enrolments: (kept.enrolments ?? 0) + 1,
      pending: undefined,
    }));
    // Asked for, not needed: without it the browser may clear the key when space runs short.
    void navigator.storage?.persist?.();
    return added.map((grant) => grant.application.name);
  } catch (error) {
    if (asProblem(error).code === "key-in-use") {
      await update((kept) => (kept.device ? {} : { key: undefined }));
    }
    throw error;
  }
}

async function ownKey(): Promise<DeviceKey> {
  const { key } = await load();
  if (key) return key;
  const made = await makeKey();
  await update((kept) => (kept.key ? {} : { key: made })); // another tab may have been first
  return (await load()).key!;
}

async function keep({ secret, ...grant }: NewGrant): Promise<KeptGrant> {
  return { ...grant, secret: await importSecret(secret) };
}

type Browser = Pick<Navigator, "userAgent" | "maxTouchPoints">;

/** What kind of device this is. An iPad calls itself a Mac, but no Mac has a touch screen. */
export function platformOf({ userAgent, maxTouchPoints }: Browser): Platform {
  if (/iPhone|iPod/.test(userAgent)) return "iphone";
  if (/iPad/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1)) return "ipad";
  if (/Android/.test(userAgent)) return "android";
  return "desktop";
}

/** A name to begin with: "iPhone", "Firefox on Linux". */
export function nameOf(browser: Browser): string {
  switch (platformOf(browser)) {
    case "iphone":
      return "iPhone";
    case "ipad":
      return "iPad";
    case "android":
      return texts.device.android;
    default:
      return texts.device.on(firstOf(BROWSERS, browser.userAgent), firstOf(SYSTEMS, browser.userAgent));
  }
}

/** What a browser is, in words, by what it calls itself; that itself when it is none that we know. */
export function browserOf(userAgent: string): string {
  const browser = firstOf(BROWSERS, userAgent);
  if (!userAgent.includes("Mozilla/") || browser === BROWSERS[""]) return userAgent;
  return texts.device.on(browser, firstOf({ Android: "Android", iPhone: "iPhone", iPad: "iPad", ...SYSTEMS }, userAgent));
}

// In the order in which they must be asked: most browsers also name the ones they stem from.
const BROWSERS = { Edg: "Edge", OPR: "Opera", Firefox: "Firefox", Chrome: "Chrome", Safari: "Safari", "": "Browser" };
const SYSTEMS = { Windows: "Windows", CrOS: "ChromeOS", Macintosh: "Mac", Linux: "Linux", "": "computer" };

function firstOf(names: Readonly<Record<string, string>>, userAgent: string): string {
  return Object.entries(names).find(([sign]) => userAgent.includes(sign))?.[1] ?? "";
}
