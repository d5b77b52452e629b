// Holds app codes to the examples of RFC 6238, appendix B.

import assert from "node:assert/strict";
import { test } from "node:test";
import { base32, groups, importSecret, totp } from "../totp.ts";

// base32 of the ASCII text "12345678901234567890"
const SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

const examples: [seconds: number, code: string][] = [
  [59, "94287082"],
  [1111111109, "07081804"],
  [1111111111, "14050471"],
  [1234567890, "89005924"],
  [2000000000, "69279037"],
  [20000000000, "65353130"],
];

for (const [seconds, code] of examples) {
  test(`RFC 6238 at ${seconds}`, async () => {
    const key = await importSecret(SECRET);
    assert.equal(key.extractable, false);
    assert.equal(await totp(key, seconds * 1000, 30, 8), code);
    assert.equal(await totp(key, seconds * 1000 + 999, 30, 7), code.slice(1));
    assert.equal(await totp(key, Math.floor(seconds / 30) * 10_000, 10, 6), code.slice(2));
  });
}

test("base32", () => {
  const text = (encoded: string) => String.fromCharCode(...base32(encoded));
  assert.equal(text(SECRET), "12345678901234567890");
  assert.equal(text("mzxw 6ytb oi======"), "foobar"); // RFC 4648 section 10
  assert.equal(text("MZXW6"), "foo");
  assert.equal(text(""), "");
  assert.throws(() => base32("MZXW1"));
});

test("codes are shown in two groups", () => {
  assert.deepEqual(groups("123456"), ["123", "456"]);
  assert.deepEqual(groups("1234567"), ["123", "4567"]);
  assert.deepEqual(groups("12345678"), ["1234", "5678"]);
});
