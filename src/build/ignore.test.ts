import { describe, expect, test } from "bun:test";
import { parseIgnore } from "./ignore.ts";

const cases: [rules: string, path: string, expected: boolean][] = [
  ["a", "a", true],
  ["a", "a/b/c", true],
  ["a", "b/a", false],
  ["/a", "a", true],
  ["a/", "a/b", true],
  ["./a/../b", "b", true],
  ["*.md", "x.md", true],
  ["*.md", "d/x.md", false],
  ["*/x.md", "d/x.md", true],
  ["**/*.md", "x.md", true],
  ["**/*.md", "a/b/x.md", true],
  ["**", "anything/at/all", true],
  ["a/**", "a/b/c", true],
  ["a/**", "a", false],
  ["a/**/b", "a/b", true],
  ["a/**/b", "a/x/y/b", true],
  ["**/node_modules", "p/q/node_modules/x.js", true],
  ["temp?", "tempa", true],
  ["temp?", "temp", false],
  ["[a-c].txt", "b.txt", true],
  ["*\n!keep", "keep", false],
  ["*\n!keep", "keep/inside", false],
  ["*\n!keep", "other", true],
  ["*\n!src/*.ts", "src/a.ts", false],
  ["*\n!src/*.ts", "src/a.js", true],
  ["!a\na", "a", true],
  ["*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true],
  ["*.md\n!README*.md\nREADME-secret.md", "README.md", false],
  ["# comment\n  spaced  ", "spaced", true],
  ["\\#file", "#file", true],
  [".", "a", false],
  ["a.b", "axb", false],
];

describe("parseIgnore()", () => {
  test.each(cases)("%j on %s: %p", (rules, path, expected) => {
    expect(parseIgnore(rules).excludes(path)).toBe(expected);
  });

  test("prunes a folder only when no exception may reach into it", () => {
    const ignore = parseIgnore("node_modules\nsrc\n!src/**/keep\n");
    expect(ignore.prunes("node_modules")).toBe(true);
    expect(ignore.prunes("src")).toBe(false);
    expect(parseIgnore("*\n!a/b").prunes("c")).toBe(true);
    expect(parseIgnore("*\n!a/b").prunes("a")).toBe(false);
  });

  test("refuses patterns that mean nothing", () => {
    expect(() => parseIgnore("!")).toThrow("illegal exclusion pattern");
    expect(() => parseIgnore("[a")).toThrow("syntax error in pattern");
  });
});

test("parseIgnore() is quick whatever the pattern", () => {
  const deep = Array(100).fill("a").join("/");
  expect(parseIgnore(`${"**/a/".repeat(40)}x`).excludes(deep)).toBe(false);
  expect(parseIgnore(`${"**/a/".repeat(40)}a`).excludes(deep)).toBe(true);
});
