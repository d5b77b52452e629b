// Checks the reading of ticket words and phone numbers as people type them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { e164 } from "../phone.ts";
import { readWords } from "../words.ts";

const WORDS = "lusab-babad-gutih-tugad-kamuz-jalip-dobiv-fagur";

test("words are taken in every shape in which they arrive", () => {
  for (const typed of [
    WORDS,
    `  ${WORDS.toUpperCase()}\n`,
    WORDS.replaceAll("-", " "),
    WORDS.replaceAll("-", " - "),
    WORDS.replaceAll("-", "\u2014"),
    `https://auth.example.com/enroll#${WORDS}`,
  ]) {
    assert.deepEqual(readWords(typed), { ok: true, ticket: WORDS }, typed);
  }
});

test("typing errors are named", () => {
  assert.deepEqual(readWords(" - "), { ok: false, problem: "empty" });
  assert.deepEqual(readWords("lusab babad"), { ok: false, problem: "count", count: 2 });
  assert.deepEqual(readWords(WORDS.replace("gutih", "gutix")), { ok: false, problem: "word", word: "gutix" });
  assert.deepEqual(readWords(WORDS.replace("gutih", "gutihh")), { ok: false, problem: "word", word: "gutihh" });
});

test("phone numbers become E.164", () => {
  assert.equal(e164("+1 (202) 555-0123"), "+12025550123");
  assert.equal(e164("0049 30 901820"), "+4930901820");
  assert.equal(e164("+44\u00a020 7946\u20110958"), "+442079460958");
  for (const typed of ["", "2025550123", "+0202555", "+1 202", "+1 202 555 CALL", "+1234567890123456"]) {
    assert.equal(e164(typed), undefined, typed);
  }
});
