// Checks what a notification says, whatever came (security reference T-18).

import assert from "node:assert/strict";
import { test } from "node:test";
import { notificationOf, readPush, requestOf, tagOf } from "../notification.ts";

const files = ["/", "/assets/badge-96-1a.png", "/assets/icon-192-2b.png"];

test("a request", () => {
  const call = readPush('{"id":"dda2c400-bc43-4135-97be-1285ca17e122","application":"Owlgate"}');
  const { title, options } = notificationOf(call, files, false);
  assert.equal(title, "Owlgate asks for your approval");
  assert.equal(options.tag, "approval:dda2c400-bc43-4135-97be-1285ca17e122");
  assert.equal(requestOf(options.tag!), "dda2c400-bc43-4135-97be-1285ca17e122");
  assert.equal(options.icon, "/assets/icon-192-2b.png");
  assert.equal(options.badge, "/assets/badge-96-1a.png");
  assert.ok(!("actions" in options), "nothing is decided from a notification");
});

test("anything else is still something to show, and leads nowhere but to the app", () => {
  const odd = [
    "", "{", "null", "1", "[]", "{}", '{"id":"a"}', '{"application":"Owlgate"}', '{"id":"a","application":" "}', '{"id":1,"application":"A"}',
    '{"id":"../x","application":"A"}', '{"id":"https://evil.example/","application":"A"}', `{"id":"${"a".repeat(65)}","application":"A"}`,
    '{"id":"a","application":{"toString":1}}',
  ];
  for (const text of odd) {
    const call = readPush(text);
    assert.equal(call, undefined, text);
    const { title, options } = notificationOf(call, files, true);
    assert.ok(title.length > 0 && options.body!.length > 0);
    assert.equal(requestOf(options.tag!), undefined);
  }
});

test("a long name is cut, and names are text", () => {
  const call = readPush(JSON.stringify({ id: "a", application: "<b>".repeat(1000) }));
  assert.ok(notificationOf(call, files, false).title.length < 150);
  assert.equal(tagOf(call), "approval:a");
});
