// Checks when a page comes back to a server that said goodbye.

import assert from "node:assert/strict";
import { test } from "node:test";
import { comeBack } from "../goodbye.ts";

test("a page comes back when it was told to", () => {
  assert.equal(comeBack('{"after":27345}', 1), 27_345);
  assert.equal(comeBack('{"after":0}', 1), 0);
});

test("told nothing that makes sense, it does as by itself", () => {
  for (const told of ["{}", "", "null", "7", '{"after":"9"}', '{"after":-1}', '{"after":1e9}', "{"]) {
    assert.equal(comeBack(told, 1_500), 1_500, told);
  }
});
