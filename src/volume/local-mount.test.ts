import { describe, expect, test } from "bun:test";
import { parseLocalOptions, splitOptions, withAddress } from "./local-mount.ts";

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

test.each([
  ["nfs", ":/x", "addr=host,rw", ":/x", "addr=10.0.0.1,rw"],
  ["nfs", ":/x", "addr=1.2.3.4", ":/x", "addr=1.2.3.4"],
  ["nfs", ":/x", "addr=::1", ":/x", "addr=::1"],
  ["nfs", ":/x", "rw", ":/x", "rw"],
  ["cifs", "//host/a b", "", "//10.0.0.1/a b", ""],
  ["cifs", "//host/x", "addr=1.2.3.4", "//host/x", "addr=1.2.3.4"],
  ["ext4", "/dev/sda", "addr=host", "/dev/sda", "addr=host"],
])("withAddress() makes %s %s %s to %s %s", async (type, device, options, to, toOptions) => {
  const mount = await withAddress({ type, device, options }, async () => "10.0.0.1");
  expect(mount).toEqual({ type, device: to, options: toOptions });
});
