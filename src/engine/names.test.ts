import { expect, test } from "bun:test";
import { makeId, makeName, parseName } from "./names.ts";
import { adjectives, surnames } from "./words.ts";

test("the word lists are long enough, and each word is once in its list", () => {
  expect(adjectives.length).toBeGreaterThanOrEqual(60);
  expect(surnames.length).toBeGreaterThanOrEqual(100);
  for (const words of [adjectives, surnames]) {
    expect(new Set(words).size).toBe(words.length);
    for (const word of words) expect(word).toMatch(/^[a-z]+$/);
  }
});

test("makeName() avoids what is taken, also when all pairs are", () => {
  expect(makeName(() => false)).toMatch(/^[a-z]+_[a-z]+$/);
  expect(makeName((name) => !/\d/.test(name))).toMatch(/^[a-z]+_[a-z]+\d+$/);
});

test("makeId() gives 64 hexadecimal digits that do not look like a number", () => {
  for (let count = 0; count < 100; count++) expect(makeId()).toMatch(/^(?!\d{12})[0-9a-f]{64}$/);
});

test("parseName() takes Docker's names", () => {
  expect(parseName("/web-1.x_y")).toBe("web-1.x_y");
  for (const bad of ["", "/", "a", "-a", "a b", "ä1", "a/b", "x".repeat(256)]) {
    expect(() => parseName(bad)).toThrow("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  }
});
