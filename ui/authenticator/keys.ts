// Owns the device's signing key: ECDSA P-256, made by WebCrypto as non-extractable, so that no script,
// ours included, can read the private half (security reference T-26).

import { base64url, canonicalBytes, type Json } from "./canonical.ts";

const P256 = { name: "ECDSA", namedCurve: "P-256" };

/** A key pair of this device. `publicKey` is base64url of the 65-byte uncompressed point. */
export interface DeviceKey {
  readonly privateKey: CryptoKey;
  readonly publicKey: string;
}

/** Makes a new key pair. Only the public half can leave the browser. */
export async function makeKey(): Promise<DeviceKey> {
  const pair = await crypto.subtle.generateKey(P256, false, ["sign"]);
  return {
    privateKey: pair.privateKey,
    publicKey: base64url(await crypto.subtle.exportKey("raw", pair.publicKey)),
  };
}

/** Signs the canonical bytes of a value: base64url of r||s, 64 bytes (IEEE P1363). */
export async function sign(key: CryptoKey, value: Json): Promise<string> {
  return base64url(
    await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, canonicalBytes(value)),
  );
}
