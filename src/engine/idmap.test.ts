import { expect, test } from "bun:test";
import { checkIdMap, swap, through } from "./idmap.ts";

test.each([
  "",
  "user",
  "uids=1000-0-1;gids=1000-0-1",
  "gids=0-0-4294967295;uids=0-1-2#5-6-7",
])("checkIdMap() takes %p", (text) => expect(checkIdMap(text)).toBe(text));

test.each([
  "yes",
  "uids=1-2-3",
  "uids=1-2-3;uids=1-2-3",
  "uids=1-2-3;gids=1-2-0",
  "uids=1-2-3;gids=1-2-4294967295",
  "uids=1-2-3;gids=1-2-3,suid",
  "uids=1-2-3;gids=1-2-3;x=1-2-3",
  `uids=1-2-3;gids=${"1-2-3#".repeat(400)}1-2-3`,
])("checkIdMap() refuses %p", (text) => {
  expect(() => checkIdMap(text)).toThrow("invalid idmap");
});

test.each([
  [0, 1000, "0-1000-1#1-1-999#1000-0-1#1001-1001-4294966294"],
  [1001, 1000, "0-0-1000#1000-1001-1#1001-1000-1#1002-1002-4294966293"],
  [5, 5, "0-0-4294967295"],
])("swap() exchanges %p and %p", (one, other, wanted) => {
  expect(swap(one, other)).toBe(wanted);
  expect(swap(other, one)).toBe(wanted);
});

test.each([
  ["0-0-4294967295", "0-100000-10#10-500-5"],
  [swap(0, 3), "0-100003-1#1-100001-2#3-100000-1#4-100004-6#10-500-5"],
  ["1234-0-1", "1234-100000-1"],
  ["50-8-4", "50-100008-2#52-500-2"],
])("through() shows %p as the host's IDs", (shown, wanted) => {
  const ranges = [
    { inside: 0, outside: 100_000, count: 10 },
    { inside: 10, outside: 500, count: 5 },
  ];
  expect(through(shown, ranges)).toBe(wanted);
  expect(() => through("7-15-1", ranges)).toThrow("none of the container's users");
});
