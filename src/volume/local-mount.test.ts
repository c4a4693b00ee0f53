import { describe, expect, test } from "bun:test";
import { parseLocalOptions, splitOptions } from "./local-mount.ts";

describe("parseLocalOptions()", () => {
  test("without options nothing is mounted", () => {
    expect(parseLocalOptions("v", {})).toBeUndefined();
  });
  test("reads type, o and device", () => {
    const options = { type: "nfs", o: "addr=1.2.3.4,rw", device: ":/x" };
    expect(parseLocalOptions("v", options)).toEqual({
      type: "nfs",
      options: "addr=1.2.3.4,rw",
      device: ":/x",
    });
    expect(parseLocalOptions("v", { o: "bind", device: "/x" })?.type).toBe("none");
  });
  test.each<[Record<string, string>, string]>([
    [{ foo: "x" }, 'create v: invalid option: "foo"'],
    [{ type: "tmpfs" }, 'create v: missing required option: "device"'],
    [{ device: "tmpfs" }, 'create v: missing required option: "type"'],
    [{ size: "10m" }, "create v: quota size requested but no quota support"],
    [{ type: "tmpfs", device: "a\0b" }, "NUL byte"],
  ])("refuses %j", (options, message) => {
    expect(() => parseLocalOptions("v", options)).toThrow(message);
  });
});

test("splitOptions() tells flags from what the file system gets", () => {
  expect(splitOptions("ro,size=1m,nosuid,uid=5,,constructor")).toEqual({
    flags: 3,
    data: "size=1m,uid=5,constructor",
  });
  expect(splitOptions("")).toEqual({ flags: 0, data: "" });
});
