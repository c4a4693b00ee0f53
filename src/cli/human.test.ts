import { expect, test } from "bun:test";
import { alignColumns } from "./columns.ts";
import {
  ago,
  binarySize,
  ellipsis,
  goTimeExact,
  humanDuration,
  humanSize,
  shortId,
} from "./human.ts";

const sizes: [bytes: number, three: string, four: string][] = [
  [0, "0B", "0B"],
  [999, "999B", "999B"],
  [1000, "1kB", "1kB"],
  [1024, "1.02kB", "1.024kB"],
  [1982417, "1.98MB", "1.982MB"],
  [999_999, "1e+03kB", "1000kB"],
  [123_456_789, "123MB", "123.5MB"],
  [2.5e9, "2.5GB", "2.5GB"],
  [4e12, "4TB", "4TB"],
];
for (const [bytes, three, four] of sizes) {
  test(`humanSize() shows ${bytes} bytes as ${three} and ${four}`, () => {
    expect(humanSize(bytes)).toBe(three);
    expect(humanSize(bytes, 4)).toBe(four);
  });
}

test("binarySize() counts in powers of 1024", () => {
  expect(binarySize(676 * 1024)).toBe("676KiB");
  expect(binarySize(25275957248)).toBe("23.54GiB");
  expect(binarySize(1023)).toBe("1023B");
});

const seconds = (count: number) => count * 1000;
const hours = (count: number) => count * 3_600_000;
const durations: [milliseconds: number, text: string][] = [
  [10, "Less than a second"],
  [seconds(1.9), "1 second"],
  [seconds(59), "59 seconds"],
  [seconds(60), "About a minute"],
  [seconds(119), "About a minute"],
  [seconds(120), "2 minutes"],
  [seconds(59 * 60 + 59), "59 minutes"],
  [hours(1), "About an hour"],
  [hours(1.49), "About an hour"],
  [hours(1.5), "2 hours"],
  [hours(47), "47 hours"],
  [hours(48), "2 days"],
  [hours(24 * 13), "13 days"],
  [hours(24 * 14), "2 weeks"],
  [hours(24 * 59), "8 weeks"],
  [hours(24 * 60), "2 months"],
  [hours(24 * 365 * 2 - 24), "24 months"],
  [hours(24 * 365 * 2), "2 years"],
];
for (const [milliseconds, text] of durations) {
  test(`humanDuration() shows ${milliseconds} ms as ${text}`, () => {
    expect(humanDuration(milliseconds)).toBe(text);
  });
}

test("ago() knows a time that is none", () => {
  expect(ago(0)).toBe("N/A");
  expect(ago(1000, 1_005_000)).toBe("5 seconds ago");
});

test("goTimeExact() writes times as Go does", () => {
  expect(goTimeExact("2026-11-21T10:49:12.279900700Z")).toBe(
    "2026-11-21 10:49:12.2799007 +0000 UTC",
  );
  expect(goTimeExact("2026-11-21T10:49:12+01:00")).toBe("2026-11-21 10:49:12 +0100 +0100");
});

test("shortId() and ellipsis() shorten", () => {
  expect(shortId(`sha256:${"ab".repeat(32)}`)).toBe("abababababab");
  expect(ellipsis("sleep 100000 seconds!", 20)).toBe("sleep 100000 second…");
  expect(ellipsis("short", 20)).toBe("short");
});

const tables: [rows: string, aligned: string][] = [
  ["A\tB\nlonger than ten\tx", "A                 B\nlonger than ten   x"],
  ["A\tB\na\tb", "A         B\na         b"],
  ["A\tB\tC\na\t\tc", "A         B         C\na                   c"],
  ["wide\tx\nno tab\nw\ty", "wide      x\nno tab\nw         y"],
  ["äöü\tx\nabc\ty", "äöü       x\nabc       y"],
];
for (const [rows, aligned] of tables) {
  test(`alignColumns() aligns ${JSON.stringify(rows)}`, () => {
    expect(alignColumns(rows)).toBe(aligned);
  });
}
