import { describe, expect, test } from "bun:test";
import { parseIgnoreFile } from "./ignore-file.ts";

const cases: [text: string, out: string[], sent: string[]][] = [
  ["", [], ["a", ".git/config"]],
  ["# comment\n\n  \nlog", ["log", "log/a"], ["logs", "x/log", "# comment"]],
  ["\uFEFFlog", ["log"], []],
  ["/log/", ["log", "log/x"], ["a/log"]],
  ["./a/../b", ["b"], ["a"]],
  ["*.md", ["a.md"], ["x/a.md", "a.mdx"]],
  ["**/*.md", ["a.md", "x/a.md", "x/y/a.md"], ["a.mdx"]],
  ["**/node_modules", ["node_modules/a", "x/node_modules/b/c"], ["node_module"]],
  ["a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]],
  ["a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/b/zz", "z"]],
  ["**", ["a", "a/b"], []],
  ["temp?", ["tempa", "temp1/x"], ["temp", "tempab", "temp/"]],
  ["[a-c]x", ["ax", "cx"], ["dx"]],
  ["[^a-c]x", ["dx"], ["ax", "/x"]],
  ["a\\*b", ["a*b"], ["axb"]],
  ["a+b(c)", ["a+b(c)"], ["aab(c)"]],
  ["*\n!keep", ["a", "a/keep"], ["keep", "keep/x"]],
  ["docs\n!docs/README.md\n", ["docs/a", "docs/x/README.md"], ["docs/README.md"]],
  ["!a\na", ["a"], []],
  ["a\n!a\na/b", ["a/b", "a/b/c"], ["a", "a/c"]],
  ["  spaced  ", ["spaced"], []],
];

describe("parseIgnoreFile()", () => {
  for (const [text, out, sent] of cases) {
    test(`with ${JSON.stringify(text)}`, () => {
      const ignore = parseIgnoreFile(text);
      expect(out.filter((path) => !ignore.excludes(path))).toEqual([]);
      expect(sent.filter((path) => ignore.excludes(path))).toEqual([]);
    });
  }

  test("sends what must be sent whatever it says", () => {
    const ignore = parseIgnoreFile("*", ["Dockerfile", ".dockerignore"]);
    expect(ignore.excludes("Dockerfile")).toBe(false);
    expect(ignore.excludes("a")).toBe(true);
  });

  test("lets a folder be skipped only when no exception reaches into it", () => {
    const ignore = parseIgnoreFile("docs\nsrc\n!docs/*/keep\n");
    expect(ignore.prunes("src")).toBe(true);
    expect(ignore.prunes("docs")).toBe(false);
    expect(ignore.prunes("other")).toBe(false);
    expect(parseIgnoreFile("a\n!**/keep").prunes("a")).toBe(false);
  });

  for (const text of ["!", "[a", "a\\"]) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseIgnoreFile(text)).toThrow("pattern");
    });
  }
});
