// Owns the bytes that a device signs: canonical JSON (RFC 8785), base64url, digests of what is shown,
// the answer and the two proofs. The same bytes are built in Go by client/receipt; both are held to
// client/receipt/testdata/vectors.json.

/** What canonical JSON may hold here. Numbers are integers that a double keeps exactly. */
export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/**
 * RFC 8785 text of a value. Throws on numbers that are not exact integers and on strings with lone
 * surrogates, because two programs would not write those alike.
 */
export function canonical(value: Json): string {
  if (typeof value === "string") {
    if (/\p{Surrogate}/u.test(value)) throw new TypeError("string is not valid Unicode");
    return JSON.stringify(value); // RFC 8785 section 3.2.2.2 takes its escapes from ECMAScript
  }
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new TypeError("number is not a safe integer");
    return String(value === 0 ? 0 : value); // no "-0"
  }
  if (typeof value === "boolean") return String(value);
  if (isList(value)) return `[${value.map(canonical).join(",")}]`;
  // The default order of sort() is by UTF-16 code units, as RFC 8785 section 3.2.3 asks.
  const members = Object.keys(value).sort();
  return `{${members.map((key) => `${canonical(key)}:${canonical(value[key]!)}`).join(",")}}`;
}

function isList(value: object): value is readonly Json[] {
  return Array.isArray(value);
}

/** UTF-8 bytes of the canonical text. */
export function canonicalBytes(value: Json): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(canonical(value));
}

/** base64url without padding (RFC 4648 section 5). */
export function base64url(bytes: ArrayBuffer | Uint8Array): string {
  let text = "";
  for (const byte of new Uint8Array(bytes)) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function digest(value: Json): Promise<string> {
  return base64url(await crypto.subtle.digest("SHA-256", canonicalBytes(value)));
}

/** One named value of an approval, in the application's order. */
export interface Field {
  readonly name: string;
  readonly value: string;
}

const pairs = (fields: readonly Field[]) => fields.map(({ name, value }) => [name, value]);

/** Where a request was started, as the application tells. "" is not told. */
export interface Context {
  readonly address: string;
  readonly browser: string;
  readonly origin: string;
}

/**
 * Everything of an approval that the page renders. The page is drawn from this object and from nothing
 * else that an application can choose, so that the digest covers all that was read.
 */
export interface Shown {
  readonly application: string;
  readonly message: string;
  readonly details: readonly Field[];
  /** Hex SHA-256 of the logo's PNG, or "". */
  readonly logo: string;
  /** Absent when the application told nothing. */
  readonly context?: Context | undefined;
}

/** What the `shown` digest is taken over. */
export function shownValue(shown: Shown): Json {
  return {
    application: shown.application,
    ...(shown.context && { context: { ...shown.context } }),
    details: pairs(shown.details),
    format: "countersign.shown",
    logo: shown.logo,
    message: shown.message,
  };
}

/** Digest of what is shown, base64url of SHA-256. */
export function shownDigest(shown: Shown): Promise<string> {
  return digest(shownValue(shown));
}

/** "not-me" is a denial that also tells that somebody else started the request. */
export type Decision = "approve" | "deny" | "not-me";

/** What a device signs for one approval. Times are Unix seconds; an expiry of 0 means never. */
export interface Answer {
  readonly application: string;
  readonly approval: string;
  readonly decision: Decision;
  readonly device: string;
  readonly expires_at: number;
  readonly hidden: string;
  readonly issued_at: number;
  readonly match: string;
  readonly nonce: string;
  readonly origin: string;
  readonly shown: string;
  readonly user: number;
}

/** The canonical form of an answer. */
export function answerValue(answer: Answer): Json {
  return { ...answer, format: "countersign.answer", version: 1 };
}

/** Shows that whoever enrols `public_key` holds its private half. */
export interface EnrolmentProof {
  readonly challenge: string;
  readonly origin: string;
  readonly public_key: string;
  /** The enrollment's id, or the ticket's words joined by "-". */
  readonly token: string;
}

export function enrolmentValue(proof: EnrolmentProof): Json {
  return { ...proof, format: "countersign.enrolment", version: 1 };
}

/** Shows that the device asking for a session holds its key. */
export interface SessionProof {
  readonly challenge: string;
  readonly device: string;
  readonly origin: string;
}

export function sessionValue(proof: SessionProof): Json {
  return { ...proof, format: "countersign.session", version: 1 };
}
