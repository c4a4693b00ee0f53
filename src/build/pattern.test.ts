import { describe, expect, test } from "bun:test";
import { compileMatch, hasWildcard } from "./pattern.ts";

// The cases are our own; what each means is Go's documentation of filepath.Match.
const cases: [pattern: string, name: string, expected: boolean][] = [
  ["abc", "abc", true],
  ["abc", "abd", false],
  ["*", "abc", true],
  ["*", "", true],
  ["*", "a/b", false],
  ["*c", "abc", true],
  ["a*", "a", true],
  ["a*/b", "ab/b", true],
  ["a*/b", "a/c/b", false],
  ["a?c", "abc", true],
  ["a?c", "a/c", false],
  ["a?c", "ac", false],
  ["a?", "aé", true],
  ["[abc]", "b", true],
  ["[^abc]", "b", false],
  ["[^abc]", "d", true],
  ["[^a]", "/", false],
  ["[a-c]x", "bx", true],
  ["[a-c]x", "dx", false],
  ["[\\]a]", "]", true],
  ["[\\-x]", "-", true],
  ["[c-a]", "b", false],
  ["\\*", "*", true],
  ["\\*", "a", false],
  [".*", ".git", true],
  ["*", ".git", true],
  ["a.b", "axb", false],
  ["a+(b)", "a+(b)", true],
  ["*.t?t", "x.txt", true],
];

describe("compileMatch()", () => {
  test.each(cases)("%s on %s: %p", (pattern, name, expected) => {
    expect(compileMatch(pattern).test(name)).toBe(expected);
  });

  test.each([
    "[",
    "[a",
    "[]",
    "[]a]",
    "[-]",
    "[a-]",
    "[^]",
    "a\\",
    "[\\",
  ])("refuses %s", (pattern) => {
    expect(() => compileMatch(pattern)).toThrow("syntax error in pattern");
  });
});

test("compileMatch() is quick whatever the pattern", () => {
  const name = "a".repeat(250);
  expect(compileMatch(`${"a*".repeat(60)}b`).test(name)).toBe(false);
  expect(compileMatch(`${"a*".repeat(60)}`).test(name)).toBe(true);
  expect(() => compileMatch("a".repeat(10_000))).toThrow("syntax error");
});

test("hasWildcard() sees past escapes", () => {
  expect(["a*", "a?", "a[b]"].every(hasWildcard)).toBe(true);
  expect(["a", "a\\*", "\\[b]"].some(hasWildcard)).toBe(false);
});
