import { describe, expect, test } from "bun:test";
import {
  formatPlatform,
  hostPlatform,
  matchesPlatform,
  parsePlatform,
  rankPlatform,
} from "./platform.ts";

describe("parsePlatform()", () => {
  test.each([
    ["linux/amd64", "linux/amd64"],
    ["linux/x86_64", "linux/amd64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/arm/6", "linux/arm/v6"],
    ["linux/armel", "linux/arm/v6"],
    ["arm64", "linux/arm64"],
    ["Linux/AMD64", "linux/amd64"],
    ["windows/amd64", "windows/amd64"],
    ["linux/amd64/v3", "linux/amd64/v3"],
  ])("%s is %s", (text, expected) => expect(formatPlatform(parsePlatform(text))).toBe(expected));
  test("takes nothing and the system's name for the host", () => {
    expect(parsePlatform("")).toEqual(hostPlatform());
    expect(parsePlatform("linux")).toEqual(hostPlatform());
  });
  test.each(["a/b/c/d", "linux/", "/amd64", "plan9", "linux/a b"])("refuses %p", (text) => {
    expect(() => parsePlatform(text)).toThrow("invalid platform");
  });
});

test("rankPlatform() prefers the own variant, then the newest older one", () => {
  const rank = (wanted: string, has: string) =>
    rankPlatform(parsePlatform(wanted), parsePlatform(has));
  expect(rank("linux/arm/v7", "linux/arm/v7")).toBeGreaterThan(
    rank("linux/arm/v7", "linux/arm/v6"),
  );
  expect(rank("linux/arm/v7", "linux/arm/v6")).toBeGreaterThan(
    rank("linux/arm/v7", "linux/arm/v5"),
  );
  expect(rank("linux/arm/v6", "linux/arm/v7")).toBe(0);
  expect(rank("linux/amd64", "linux/arm64")).toBe(0);
  expect(rank("linux/amd64", "windows/amd64")).toBe(0);
  expect(rank("linux/amd64", "linux/amd64/v2")).toBe(0);
});

test("matchesPlatform() without a variant takes any", () => {
  const wanted = { os: "linux", architecture: "arm" };
  expect(matchesPlatform(wanted, { ...wanted, variant: "v8" })).toBe(true);
  expect(matchesPlatform({ ...wanted, variant: "v6" }, { ...wanted, variant: "v7" })).toBe(false);
});
