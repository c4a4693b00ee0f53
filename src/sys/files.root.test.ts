import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import {
  chmodAt,
  closeFile,
  linkAt,
  makeDirectoryAt,
  makeNodeAt,
  open,
  openAt,
  openPath,
  openWithin,
  readLinkAt,
  renameAt,
  resolve,
  setTimeAt,
  symlinkAt,
  unlinkAt,
} from "./files.ts";
import { cloneFile, copyRange, nextData, readInto, syncFileSystem, writeAt } from "./files-data.ts";
import { errnoOf } from "./libc.ts";
import { listMounts, mountNow, openReadOnly, parseMountInfo, unmountNow } from "./mount.ts";
import { findAt, listDirectory, statAt } from "./stat.ts";
import { getXattr, listXattrs, removeXattr, setXattr } from "./xattr.ts";

const base = mkdtempSync("/var/tmp/lading-files-");
const root = `${base}/root`;
let directory = -1;
beforeAll(() => {
  mkdirSync(`${root}/inside`, { recursive: true });
  writeFileSync(`${base}/secret`, "secret");
  writeFileSync(`${root}/inside/file`, "inside");
  symlinkSync("../secret", `${root}/climbs`);
  symlinkSync("/inside/file", `${root}/absolute`);
  symlinkSync("/proc/self/root/etc/passwd", `${root}/magic`);
  symlinkSync("loop", `${root}/loop`);
  directory = openPath(root, open.path | open.directory);
});
afterAll(() => {
  closeFile(directory);
  rmSync(base, { recursive: true });
});

function errno(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    return errnoOf(error);
  }
  return undefined;
}
const text = (file: number) => {
  const buffer = Buffer.alloc(100);
  const length = readInto(file, buffer, 0);
  closeFile(file);
  return buffer.toString("utf8", 0, length);
};
const within = (path: string, how: number) => () =>
  openWithin(directory, path, { flags: open.readOnly, resolve: how });

describe("openWithin()", () => {
  test("ends links inside the root with inRoot", () => {
    expect(text(within("absolute", resolve.inRoot)())).toBe("inside");
    expect(text(within("inside/../../../absolute", resolve.inRoot)())).toBe("inside");
    expect(errno(within("climbs", resolve.inRoot))).toBe("ENOENT");
  });

  const refused: [path: string, how: number, errno: string][] = [
    ["climbs", resolve.beneath, "EXDEV"],
    ["../secret", resolve.beneath, "EXDEV"],
    ["absolute", resolve.beneath, "EXDEV"],
    ["absolute", resolve.inRoot | resolve.noSymlinks, "ELOOP"],
    ["loop", resolve.inRoot, "ELOOP"],
    ["magic", resolve.inRoot, "ENOENT"],
    ["inside/file/x", resolve.inRoot, "ENOTDIR"],
  ];
  for (const [path, how, expected] of refused) {
    test(`refuses "${path}" with flags ${how}: ${expected}`, () => {
      expect(errno(within(path, how))).toBe(expected);
    });
  }
});

describe("names in a directory", () => {
  test("are never followed by openAt() and chmodAt()", () => {
    expect(errno(() => openAt(directory, "climbs", open.readOnly))).toBe("ELOOP");
    expect(errno(() => openAt(directory, "climbs", open.writeOnly | open.create, 0o600))).toBe(
      "ELOOP",
    );
    const mode = statSync(`${base}/secret`).mode;
    expect(errno(() => chmodAt(directory, "climbs", 0o777))).toBeDefined();
    expect(statSync(`${base}/secret`).mode).toBe(mode);
  });

  test("are made, linked, renamed, stamped and removed", () => {
    makeDirectoryAt(directory, "d", 0o700);
    symlinkAt("target\udcff", directory, "s");
    expect(readLinkAt(directory, "s")).toEqual(
      Buffer.concat([Buffer.from("target"), Buffer.from([0xff])]),
    );
    linkAt([directory, "s"], [directory, "s2"]);
    expect(statAt(directory, "s").identity).toBe(statAt(directory, "s2").identity);
    makeNodeAt(directory, "n", { mode: 0o020600, major: 4095, minor: 1_048_575 });
    expect(statAt(directory, "n")).toMatchObject({
      type: "char",
      deviceMajor: 4095,
      deviceMinor: 1_048_575,
    });
    renameAt([directory, "n"], [directory, "m"]);
    expect([findAt(directory, "n"), findAt(directory, "m")?.type]).toEqual([undefined, "char"]);
    for (const time of [
      { seconds: -5, nanoseconds: 1 },
      { seconds: 2 ** 33, nanoseconds: 999_999_999 },
    ]) {
      setTimeAt(directory, "s", time);
      const { mtimeSeconds, mtimeNanoseconds } = statAt(directory, "s");
      expect({ seconds: mtimeSeconds, nanoseconds: mtimeNanoseconds }).toEqual(time);
    }
    expect(lstatSync(`${root}/s`).isSymbolicLink()).toBe(true);
    for (const name of ["s", "s2", "m"]) unlinkAt(directory, name);
    expect(errno(() => unlinkAt(directory, "d"))).toBe("EISDIR");
    unlinkAt(directory, "d", true);
    expect(errno(() => statAt(directory, "d"))).toBe("ENOENT");
  });

  test("are listed whole, many and odd ones too", () => {
    mkdirSync(`${root}/many`);
    const names = Array.from({ length: 3000 }, (_, at) => `name-${at}-${"x".repeat(at % 50)}`);
    for (const name of names) writeFileSync(`${root}/many/${name}`, "");
    const many = openAt(directory, "many", open.readOnly | open.directory);
    closeFile(openAt(many, "raw\udc80", open.writeOnly | open.create, 0o600));
    const found = listDirectory(many);
    closeFile(many);
    expect(found.map(({ name }) => name).sort()).toEqual([...names, "raw\udc80"].sort());
    expect(found.every(({ type }) => type === "file")).toBe(true);
  });
});

test("statAt() agrees with node", () => {
  const ours = statAt(directory, "inside/file");
  const node = statSync(`${root}/inside/file`, { bigint: true });
  expect(ours).toMatchObject({
    type: "file",
    mode: Number(node.mode & 0o7777n),
    sizeBytes: 6,
    links: 1,
    uid: 0,
  });
  expect(BigInt(ours.mtimeSeconds) * 10n ** 9n + BigInt(ours.mtimeNanoseconds)).toBe(node.mtimeNs);
});

test("nextData() finds the data between holes", () => {
  const path = `${root}/holes`;
  writeFileSync(path, "");
  truncateSync(path, 10 << 20);
  const file = openPath(path, open.readWrite);
  writeAt(file, Buffer.from("data"), 4 << 20);
  expect(nextData(file, 0)).toEqual({ start: 4 << 20, end: (4 << 20) + 4096 });
  expect(nextData(file, 5 << 20)).toBeUndefined();
  closeFile(file);
});

test("copyRange() and cloneFile() copy, or say that they cannot", () => {
  writeFileSync(`${root}/from`, "content");
  const from = openPath(`${root}/from`, open.readOnly);
  const to = openAt(directory, "to", open.readWrite | open.create, 0o600);
  expect(copyRange(from, to, 100)).toBe(7);
  expect(copyRange(from, to, 100)).toBe(0);
  expect(readFileSync(`${root}/to`, "utf8")).toBe("content");
  expect(typeof cloneFile(from, to)).toBe("boolean");
  syncFileSystem(to);
  closeFile(from);
  closeFile(to);
});

test("xattrs are set, listed, read and removed, of a link itself too", () => {
  const path = `${root}/inside/file`;
  expect(listXattrs(path)).toEqual([]);
  setXattr(path, "user.one", Buffer.from("1"));
  setXattr(path, "trusted.two", Buffer.alloc(0));
  expect(listXattrs(path).sort()).toEqual(["trusted.two", "user.one"]);
  expect([getXattr(path, "user.one")?.toString(), getXattr(path, "trusted.two")?.length]).toEqual([
    "1",
    0,
  ]);
  removeXattr(path, "user.one");
  removeXattr(path, "user.one");
  expect(getXattr(path, "user.one")).toBeUndefined();
  setXattr(`${root}/climbs`, "trusted.own", Buffer.from("link"));
  expect(getXattr(`${base}/secret`, "trusted.own")).toBeUndefined();
  expect(errno(() => setXattr(`${base}/absent`, "user.x", Buffer.from("x")))).toBe("ENOENT");
});

test("mountNow(), listMounts() and unmountNow() agree", () => {
  const target = `${base}/mnt with space`;
  mkdirSync(target);
  const find = () => listMounts().find((mount) => mount.target === target);
  mountNow({ type: "tmpfs", source: "lading-test", target, data: "size=64k" });
  expect(find()).toMatchObject({ type: "tmpfs", source: "lading-test" });
  expect(unmountNow(target, { detach: false })).toBe(true);
  expect(unmountNow(target, { detach: false })).toBe(false);
  expect(unmountNow(`${base}/absent`, { detach: true })).toBe(false);
  expect(find()).toBeUndefined();
  expect(errno(() => mountNow({ type: "nosuchfs", source: "x", target }))).toBe("ENODEV");
});

test("parseMountInfo() reads lines with and without optional fields", () => {
  const text = `36 35 98:0 /mnt1 /mnt2\\040x rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
37 35 0:5 / /proc rw - proc proc rw
`;
  expect(parseMountInfo(text)).toEqual([
    {
      target: "/mnt2 x",
      type: "ext3",
      source: "/dev/root",
      options: "rw,errors=continue",
      propagation: "shared",
    },
    { target: "/proc", type: "proc", source: "proc", options: "rw", propagation: "private" },
  ]);
});

test("openReadOnly() lets files be run and read, not written, and mounts nothing that others see", () => {
  writeFileSync(`${base}/program`, "#!/bin/sh\nexit 3\n", { mode: 0o755 });
  const held = openReadOnly(base);
  if (held === undefined) return; // a kernel before 5.12
  const path = `/proc/self/fd/${held}/program`;
  expect(listMounts().filter(({ target }) => target.startsWith(base))).toEqual([]);
  expect(readFileSync(path, "utf8")).toContain("exit 3");
  expect(() => writeFileSync(path, "")).toThrow("EROFS");
  const ours = path.replace("self", `${process.pid}`);
  expect(Bun.spawnSync([ours]).exitCode).toBe(3);
  closeFile(held);
  writeFileSync(`${base}/program`, "");
});
