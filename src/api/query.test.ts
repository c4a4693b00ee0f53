import { expect, test } from "bun:test";
import {
  booleanFilter,
  flag,
  matchesGlob,
  matchesLabels,
  matchesName,
  parseFilters,
  parseTimeNs,
  whole,
} from "./query.ts";

const of = (text: string) => new URLSearchParams(text);
const filtersOf = (value: unknown) =>
  parseFilters(of(`filters=${encodeURIComponent(JSON.stringify(value))}`), [
    "label",
    "label!",
    "x",
  ]);

test("flag() is Go's idea of a boolean", () => {
  for (const text of ["a=1", "a=true", "a=True", "a=yes", "a=on"])
    expect(flag(of(text), "a")).toBe(true);
  for (const text of ["", "a=", "a=0", "a=no", "a=False", "a=none"]) {
    expect(flag(of(text), "a")).toBe(false);
  }
  expect(flag(of(""), "a", true)).toBe(true);
});

test("whole() takes whole numbers alone", () => {
  expect(whole(of("a=-5"), "a")).toBe(-5);
  expect(whole(of("a="), "a")).toBeUndefined();
  for (const text of ["1.5", "x", "1e3", "9".repeat(30)]) {
    expect(() => whole(of(`a=${text}`), "a")).toThrow("invalid value for a");
  }
});

test("parseTimeNs() takes seconds, dates and spans", () => {
  const cases: [string, bigint | undefined][] = [
    ["5", 5_000_000_000n],
    ["5.5", 5_500_000_000n],
    ["1716037262.000000001", 1_716_037_262_000_000_001n],
    ["2024-05-18T13:01:02.5Z", 1_716_037_262_500_000_000n],
    ["10m", 400_000_000_000n],
    ["1h30m", undefined],
    ["soon", undefined],
  ];
  for (const [text, time] of cases.slice(0, 5)) expect(parseTimeNs(text, 1_000_000)).toBe(time);
  expect(parseTimeNs("1h30m", 10_000_000)).toBe(4_600_000_000_000n);
  expect(parseTimeNs("soon")).toBeUndefined();
});

test("parseFilters() reads both forms and refuses others", () => {
  expect(filtersOf({ label: ["a", "b=c"] }).get("label")).toEqual(["a", "b=c"]);
  expect(filtersOf({ label: { a: true, b: false } }).get("label")).toEqual(["a", "b"]);
  expect(() => filtersOf({ label: "x" })).toThrow("invalid filter");
  expect(() => filtersOf({ odd: ["x"] })).toThrow("invalid filter 'odd'");
  expect(() => filtersOf({ label: [5] })).toThrow("invalid filter");
  expect(() => filtersOf([])).toThrow("invalid filter");
  expect(() => filtersOf("x")).toThrow("invalid filter");
});

test("booleanFilter() wants one answer", () => {
  expect(booleanFilter(filtersOf({ x: ["true"] }), "x")).toBe(true);
  expect(booleanFilter(filtersOf({ x: ["0"] }), "x")).toBe(false);
  expect(booleanFilter(filtersOf({}), "x")).toBeUndefined();
  expect(() => booleanFilter(filtersOf({ x: ["true", "false"] }), "x")).toThrow("invalid filter");
  expect(() => booleanFilter(filtersOf({ x: ["maybe"] }), "x")).toThrow("invalid filter");
});

test("matchesLabels() wants all, and none of label!", () => {
  const labels = { a: "1", b: "2" };
  expect(matchesLabels(filtersOf({ label: ["a", "b=2"] }), labels)).toBe(true);
  expect(matchesLabels(filtersOf({ label: ["a=2"] }), labels)).toBe(false);
  expect(matchesLabels(filtersOf({ "label!": ["a"] }), labels)).toBe(false);
  expect(matchesLabels(filtersOf({ label: ["toString"] }), labels)).toBe(false);
});

test("matchesName() takes expressions, but none that could hang it", () => {
  expect(matchesName("^we", "web")).toBe(true);
  expect(matchesName("^/web$", "/web")).toBe(true);
  expect(matchesName("e", "web")).toBe(true);
  expect(matchesName("[", "web")).toBe(false);
  expect(matchesName("(a+)+$", `${"a".repeat(250)}b`)).toBe(false);
  expect(matchesName("a*a*a*a*a*a*a*b", "a".repeat(255))).toBe(false);
});

test("matchesGlob() stops at slashes", () => {
  expect(matchesGlob("busy*", "busybox:latest")).toBe(true);
  expect(matchesGlob("busy*", "busy/box")).toBe(false);
  expect(matchesGlob("*/*", "busy/box")).toBe(true);
  expect(matchesGlob("b.sybox", "busybox")).toBe(false);
});
