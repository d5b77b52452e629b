// Holds the signed bytes to the vectors that Go is held to.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  answerValue,
  base64url,
  canonical,
  canonicalBytes,
  enrolmentValue,
  sessionValue,
  shownDigest,
  shownValue,
  type Answer,
  type EnrolmentProof,
  type Json,
  type SessionProof,
  type Shown,
} from "../canonical.ts";
import { makeKey, sign } from "../keys.ts";

type Pair = [name: string, value: string];
type Vector = { kind: string; name: string; input: any; canonical: string; digest: string };

// The tests run in the ui folder, see package.json.
const vectors: Vector[] = JSON.parse(readFileSync("../client/receipt/testdata/vectors.json", "utf8"));

const ALGORITHM = { name: "ECDSA", hash: "SHA-256" };

function shownOf(input: { application: string; details: Pair[]; logo: string; message: string }): Shown {
  return { ...input, details: input.details.map(([name, value]) => ({ name, value })) };
}

const builders: Record<string, (input: any) => Json> = {
  json: (input: Json) => input,
  shown: (input) => shownValue(shownOf(input)),
  hidden: (input) => ({ ...input, format: "countersign.hidden" }),
  answer: (input: Answer) => answerValue(input),
  enrolment: (input: EnrolmentProof) => enrolmentValue(input),
  session: (input: SessionProof) => sessionValue(input),
};

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

async function verifies(publicKey: string, signature: string, signed: BufferSource): Promise<boolean> {
  const key = await crypto.subtle.importKey(
    "raw",
    bytesOf(publicKey),
    { name: "ECDSA", namedCurve: "P-256" },
    false,
    ["verify"],
  );
  return crypto.subtle.verify(ALGORITHM, key, bytesOf(signature), signed);
}

for (const vector of vectors) {
  test(`${vector.kind}: ${vector.name}`, async () => {
    if (vector.kind === "signature") {
      const { public_key, signature } = vector.input;
      const signed = new TextEncoder().encode(vector.canonical);
      assert.ok(await verifies(public_key, signature, signed), "signature");
      assert.ok(!(await verifies(public_key, signature, canonicalBytes("other"))), "other bytes");
      return;
    }
    const build = builders[vector.kind];
    assert.ok(build, `unknown kind ${vector.kind}`);
    const value = build!(vector.input);
    assert.equal(canonical(value), vector.canonical);
    const digest = base64url(await crypto.subtle.digest("SHA-256", canonicalBytes(value)));
    assert.equal(digest, vector.digest);
    if (vector.kind === "shown") assert.equal(await shownDigest(shownOf(vector.input)), vector.digest);
  });
}

test("vectors of every kind are there", () => {
  const kinds = new Set(vectors.map(({ kind }) => kind));
  for (const kind of [...Object.keys(builders), "signature"]) assert.ok(kinds.has(kind), kind);
});

test("what has no one canonical form is refused", () => {
  for (const value of [0.5, NaN, Infinity, 2 ** 53, "\ud800", { "\udc00": 1 }]) {
    assert.throws(() => canonical(value), String(value));
  }
});

test("a key of ours signs what its public half verifies, and cannot be read", async () => {
  const key = await makeKey();
  assert.equal(bytesOf(key.publicKey).length, 65);
  assert.equal(key.privateKey.extractable, false);
  const signature = await sign(key.privateKey, { a: 1 });
  assert.equal(bytesOf(signature).length, 64);
  assert.ok(await verifies(key.publicKey, signature, new TextEncoder().encode('{"a":1}')));
});
