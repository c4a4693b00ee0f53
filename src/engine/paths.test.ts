import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { baseName, goMode } from "./path-stat.ts";
import { linkTarget, locate, type Part } from "./paths.ts";
import { makeDirectory } from "./rootfs.ts";

const top = mkdtempSync("/tmp/lading-H-paths-");
afterAll(() => rmSync(top, { recursive: true, force: true }));
const root = `${top}/root`;
const volume = `${top}/volume`;
mkdirSync(`${root}/etc`, { recursive: true });
mkdirSync(`${root}/data`);
mkdirSync(`${volume}/sub`, { recursive: true });
writeFileSync(`${root}/etc/passwd`, "root:x:0:0\n");
writeFileSync(`${top}/secret`, "secret");
writeFileSync(`${volume}/sub/file`, "in the volume");
symlinkSync("/etc/passwd", `${root}/absolute`);
symlinkSync("../../../../../secret", `${root}/climb`);
symlinkSync("loop", `${root}/loop`);
symlinkSync("/data/sub", `${root}/into`);
symlinkSync("/etc", `${volume}/out`);
symlinkSync(top, `${root}/home`);

const parts: Part[] = [
  { target: "/", source: root, prefix: "" },
  { target: "/data", source: volume, prefix: "" },
  { target: "/part", source: volume, prefix: "/sub" },
];

describe("locate()", () => {
  const cases: [path: string, inside: string, source: string, type: string | undefined][] = [
    ["/", "/", root, "directory"],
    ["etc/passwd", "/etc/passwd", root, "file"],
    ["/absolute", "/etc/passwd", root, "file"],
    ["/climb", "/secret", root, undefined],
    ["/../../secret", "/secret", root, undefined],
    ["/home/secret", `${top}/secret`, root, undefined],
    ["/data", "/data", volume, "directory"],
    ["/data/sub/file", "/data/sub/file", volume, "file"],
    ["/into/file", "/data/sub/file", volume, "file"],
    ["/data/out/passwd", "/etc/passwd", root, "file"],
    ["/data/../etc/passwd", "/etc/passwd", root, "file"],
    ["/part/file", "/part/file", volume, "file"],
    ["/part/../etc", "/etc", root, "directory"],
    ["/etc/passwd/x", "/etc/passwd/x", root, undefined],
  ];
  for (const [path, inside, source, type] of cases) {
    test(`follows ${path}`, () => {
      const place = locate(parts, path, { followLast: true });
      expect([place.inside, place.part.source, place.stat?.type]).toEqual([inside, source, type]);
    });
  }

  test("leaves a link at the end alone when told to, and reads what it says", () => {
    const place = locate(parts, "/absolute", { followLast: false });
    expect(place.stat?.type).toBe("symlink");
    expect(linkTarget(place)).toBe("/etc/passwd");
    expect(linkTarget(locate(parts, "/climb", { followLast: false }))).toBe("/secret");
  });

  test("gives up on a loop", () => {
    expect(() => locate(parts, "/loop", { followLast: true })).toThrow("too many levels");
  });
});

test("makeDirectory() stays inside, whatever links say", () => {
  makeDirectory(root, "/a/b/../c");
  makeDirectory(root, "/etc/x/y");
  makeDirectory(root, "/into");
  writeFileSync(`${root}/a/c/file`, "x");
  writeFileSync(`${root}/etc/x/y/file`, "x");
  expect(() => makeDirectory(root, "/home/inside")).toThrow();
  expect(() => readFileSync(`${top}/inside`)).toThrow();
});

test("baseName() is Go's filepath.Base", () => {
  expect(["/a/b", "/a/b/", "/a/.", "/", "//", "a"].map(baseName)).toEqual([
    "b",
    "b",
    ".",
    "/",
    "/",
    "a",
  ]);
});

test("goMode() has Go's bits", () => {
  expect(goMode({ type: "directory", mode: 0o1777 })).toBe(2 ** 31 + 2 ** 20 + 0o777);
  expect(goMode({ type: "file", mode: 0o4755 })).toBe(2 ** 23 + 0o755);
  expect(goMode({ type: "char", mode: 0o666 })).toBe(2 ** 26 + 2 ** 21 + 0o666);
});
