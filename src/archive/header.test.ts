import { expect, test } from "bun:test";
import { cleanPath } from "./header.ts";
import { parsePaxTime, paxRecord, paxTime } from "./pax.ts";

const clean: [path: string, cleaned: string][] = [
  ["a", "a"],
  ["a/b/c", "a/b/c"],
  ["./a//b/", "a/b"],
  ["/etc/passwd", "etc/passwd"],
  ["//etc", "etc"],
  ["a/../b", "b"],
  ["a/b/../../c", "c"],
  [".", ""],
  ["./", ""],
  ["/", ""],
  ["a/..", ""],
  [".hidden/..x/...", ".hidden/..x/..."],
];
for (const [path, cleaned] of clean) {
  test(`cleanPath() makes "${cleaned}" of "${path}"`, () => {
    expect(cleanPath(path)).toBe(cleaned);
  });
}
for (const path of ["..", "../a", "a/../..", "/..", "/../etc", "a/b/../../../c", "./.././x"]) {
  test(`cleanPath() refuses "${path}"`, () => {
    expect(() => cleanPath(path)).toThrow("out of its root");
  });
}

const times: [text: string, seconds: number, nanoseconds: number][] = [
  ["0", 0, 0],
  ["1700000000.25", 1_700_000_000, 250_000_000],
  ["1.000000001", 1, 1],
  ["-1", -1, 0],
  ["-0.5", -1, 500_000_000],
  ["-1.25", -2, 750_000_000],
];
for (const [text, seconds, nanoseconds] of times) {
  test(`parsePaxTime() and paxTime() agree on ${text}`, () => {
    expect(parsePaxTime(text)).toEqual({ seconds, nanoseconds });
    expect(paxTime(seconds, nanoseconds)).toBe(text);
  });
}
test("parsePaxTime() cuts what is finer than nanoseconds, and refuses what is no time", () => {
  expect(parsePaxTime("1.0000000019").nanoseconds).toBe(1);
  for (const text of ["", "1e9", "abc", "--1", "1.x"]) expect(() => parsePaxTime(text)).toThrow();
});

test("paxRecord() counts its own digits where that changes their number", () => {
  for (let length = 0; length < 1100; length++) {
    const record = paxRecord("k", "v".repeat(length)).toString();
    expect(Number(record.split(" ")[0])).toBe(record.length);
  }
});
