import { describe, expect, test } from "bun:test";
import { detachFilter, parseDetachKeys } from "./detach-keys.ts";

test("parseDetachKeys() knows letters and control keys, and a default", () => {
  expect([...parseDetachKeys("")]).toEqual([16, 17]);
  expect([...parseDetachKeys("a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_")]).toEqual([
    97, 0, 27, 28, 29, 30, 31,
  ]);
  expect([...parseDetachKeys("ctrl-Z")]).toEqual([26]);
  for (const bad of ["ctrl-", "ctrl-1", "ab", "a,,b", "é"]) {
    expect(() => parseDetachKeys(bad)).toThrow("Invalid detach keys");
  }
});

describe("detachFilter()", () => {
  const cases: [keys: string, chunks: string[], passed: string, detached: boolean][] = [
    ["", ["abc"], "abc", false],
    ["", ["a\x10\x11b"], "a", true],
    ["", ["a\x10", "\x11"], "a", true],
    ["", ["a\x10", "b"], "a\x10b", false],
    ["", ["\x10\x10\x11"], "\x10", true],
    ["", ["\x10\x10", "x"], "\x10\x10x", false],
    ["a,a,b", ["a", "a", "a", "b"], "a", true],
    ["a,b,a,c", ["ababac"], "ab", true],
    ["", ["end\x10"], "end\x10", false],
  ];
  for (const [keys, chunks, passed, detached] of cases) {
    test(`passes ${JSON.stringify(passed)} of ${JSON.stringify(chunks)}`, () => {
      const filter = detachFilter(parseDetachKeys(keys));
      let text = "";
      let isDetached = false;
      for (const chunk of chunks) {
        const step = filter.push(Buffer.from(chunk, "latin1"));
        text += Buffer.from(step.pass).toString("latin1");
        isDetached ||= step.isDetached;
      }
      text += Buffer.from(filter.flush()).toString("latin1");
      expect([text, isDetached]).toEqual([passed, detached]);
    });
  }
});
