// Owns app codes: RFC 6238 with SHA-1, computed on the device, so that they work without a network.

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Decodes RFC 4648 base32 without padding; spaces and letter case do not matter. Throws on others. */
export function base32(text: string): Uint8Array<ArrayBuffer> {
  const letters = text.replace(/[\s=]/g, "").toUpperCase();
  const bytes = new Uint8Array(Math.floor((letters.length * 5) / 8));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const letter of letters) {
    const value = BASE32.indexOf(letter);
    if (value < 0) throw new TypeError("not base32");
    held = ((held << 5) | value) & 0xffff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
    }
  }
  return bytes;
}

/** Turns a secret into a key that can make codes and cannot be read again. */
export function importSecret(secret: string): Promise<CryptoKey> {
  const hmac = { name: "HMAC", hash: "SHA-1" };
  return crypto.subtle.importKey("raw", base32(secret), hmac, false, ["sign"]);
}

/** The code for a time in Unix milliseconds; `period` in seconds. */
export async function totp(
  key: CryptoKey,
  time: number,
  period: number,
  digits: number,
): Promise<string> {
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(Math.floor(time / 1000 / period)));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, counter));
  const offset = mac.getUint8(19) & 0xf; // dynamic truncation, RFC 4226 section 5.3
  const number = mac.getUint32(offset) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, "0");
}

/** Splits a code into two groups that are easy to hold in mind: 123 456, 123 4567, 1234 5678. */
export function groups(code: string): [string, string] {
  const half = Math.floor(code.length / 2);
  return [code.slice(0, half), code.slice(half)];
}
