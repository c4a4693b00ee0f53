import { expect, test } from "bun:test";
import { parseDurationNs, parseSizeBytes } from "./units.ts";

const sizes: [text: string, bytes: number | undefined][] = [
  ["0", 0],
  ["100", 100],
  ["512m", 512 << 20],
  ["1.5g", 1.5 * 2 ** 30],
  ["2GiB", 2 ** 31],
  ["3KB", 3072],
  ["4 k", 4096],
  ["1t", 2 ** 40],
  ["7b", 7],
  ["", undefined],
  ["-1", undefined],
  ["m", undefined],
  ["1x", undefined],
  ["1.m", undefined],
];
for (const [text, bytes] of sizes) {
  test(`parseSizeBytes() ${bytes === undefined ? "refuses" : "reads"} "${text}"`, () => {
    if (bytes === undefined) expect(() => parseSizeBytes(text)).toThrow("invalid size");
    else expect(parseSizeBytes(text)).toBe(bytes);
  });
}

const durations: [text: string, nanoseconds: number | undefined][] = [
  ["0", 0],
  ["30s", 30e9],
  ["1m30s", 90e9],
  ["1.5h", 5400e9],
  ["-2s", -2e9],
  ["10ms", 10e6],
  ["5us", 5000],
  ["7ns", 7],
  ["5", undefined],
  ["", undefined],
  ["s", undefined],
  ["1d", undefined],
  ["1s ", undefined],
];
for (const [text, nanoseconds] of durations) {
  test(`parseDurationNs() ${nanoseconds === undefined ? "refuses" : "reads"} "${text}"`, () => {
    if (nanoseconds === undefined) expect(() => parseDurationNs(text)).toThrow("duration");
    else expect(parseDurationNs(text)).toBe(nanoseconds);
  });
}
