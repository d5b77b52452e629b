// Checks the words for times, which are computed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, problem, timeLeft } from "../texts.ts";

test("durations", () => {
  assert.equal(duration(1), "1 second");
  assert.equal(duration(89), "89 seconds");
  assert.equal(duration(90), "2 minutes");
  assert.equal(duration(3600), "60 minutes");
  assert.equal(duration(86_400), "24 hours");
  assert.equal(duration(3 * 86_400), "3 days");
  assert.equal(duration(-5), "0 seconds");
});

test("time left", () => {
  assert.equal(timeLeft(102), "1:42");
  assert.equal(timeLeft(9.2), "0:10");
  assert.equal(timeLeft(-1), "0:00");
  assert.equal(timeLeft(7200), "2 hours");
});

test("every problem has words, and a limit says how long", () => {
  const codes = ["invalid", "ticket-invalid", "code-wrong", "code-expired", "second-device", "bad-signature"];
  const words = codes.map((code) => problem(code, "", 0));
  assert.equal(new Set(words).size, codes.length);
  assert.ok(problem("limited", "", 120).includes("2 minutes"));
  assert.ok(problem("never heard of", "", 0).length > 0);
});
