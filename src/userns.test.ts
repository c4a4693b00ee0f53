import { expect, test } from "bun:test";
import { firstFree, parseRanges, readRemap } from "./userns.ts";

const text = "# comment\nann:100000:65536\nbob:165536:10\nann:300000:5\n1000:400000:7\n";

test("parseRanges() puts a user's ranges one above the other", () => {
  expect(parseRanges(text, ["ann", "1000"])).toEqual([
    { inside: 0, outside: 100_000, count: 65_536 },
    { inside: 65_536, outside: 300_000, count: 5 },
    { inside: 65_541, outside: 400_000, count: 7 },
  ]);
  expect(parseRanges(text, ["eve", "9"])).toEqual([]);
});

test.each([
  ["no IDs", "ann:100000:0"],
  ["the host's root", "ann:0:65536"],
  ["more than there are", "ann:100000:4294967295"],
  ["too many ranges", Array.from({ length: 341 }, (_, at) => `ann:${100 + at}:1`).join("\n")],
])("parseRanges() refuses %s", (_, bad) => {
  expect(() => parseRanges(bad, ["ann"])).toThrow("Cannot remap users");
});

test("firstFree() is above what is given away", () => {
  expect(firstFree(text)).toBe(400_007);
  expect(firstFree("")).toBe(100_000);
});

test.each(["a:b:c", ":", "a:", ":b"])("readRemap() refuses %p", async (setting) => {
  await expect(readRemap(setting)).rejects.toThrow("invalid user/group specification");
});

test.each([
  ["no-such-user-here", "there is no user"],
  ["root", "root cannot be remapped"],
  ["0", "root cannot be remapped"],
  ["root:no-such-group-here", "there is no group"],
])("readRemap() refuses %p: %s", async (setting, why) => {
  await expect(readRemap(setting)).rejects.toThrow(why);
});
