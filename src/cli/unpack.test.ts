import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { readTar, type TarInput, writeTar } from "../archive/mod.ts";
import { parsePlace } from "./cp.ts";
import { renamed } from "./cp-from.ts";
import { Unpacker } from "./unpack.ts";

let folder = "";
let root = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/lading-unpack-`);
  root = `${folder}/root`;
  mkdirSync(root);
});
afterEach(() => rmSync(folder, { recursive: true }));

const text = (value: string) => new TextEncoder().encode(value);

async function unpack(entries: TarInput[]): Promise<void> {
  const unpacker = new Unpacker(root, { keepsOwners: false });
  for await (const { header, body } of readTar(writeTar(entries))) {
    await unpacker.add(header, body, (link) => link);
  }
  unpacker.finish();
}

describe("Unpacker", () => {
  test("writes folders, files, links with modes and times", async () => {
    await unpack([
      { header: { path: "d", type: "directory", mode: 0o500, mtimeSeconds: 1000 } },
      { header: { path: "d/f", mode: 0o640, mtimeSeconds: 2000 }, body: text("hello") },
      { header: { path: "d/s", type: "symlink", linkPath: "/etc/passwd" } },
      { header: { path: "d/h", type: "link", linkPath: "d/f" } },
    ]);
    expect(lstatSync(`${root}/d`).mode & 0o777).toBe(0o500);
    expect(lstatSync(`${root}/d`).mtimeMs).toBe(1_000_000);
    expect(lstatSync(`${root}/d/f`).mode & 0o777).toBe(0o640);
    expect(readFileSync(`${root}/d/h`, "utf8")).toBe("hello");
    expect(readlinkSync(`${root}/d/s`)).toBe("/etc/passwd");
  });

  test("replaces a file, but writes through no link", async () => {
    writeFileSync(`${folder}/outside`, "old");
    symlinkSync(`${folder}/outside`, `${root}/f`);
    await unpack([{ header: { path: "f" }, body: text("new") }]);
    expect(readFileSync(`${folder}/outside`, "utf8")).toBe("old");
    expect(readFileSync(`${root}/f`, "utf8")).toBe("new");
  });

  const hostile: [name: string, entries: TarInput[]][] = [
    ["a path that climbs", [{ header: { path: "../evil" }, body: text("x") }]],
    ["a path that climbs in its middle", [{ header: { path: "a/../../evil" }, body: text("x") }]],
    [
      "a file behind a link that the archive brought",
      [
        { header: { path: "l", type: "symlink", linkPath: ".." } },
        { header: { path: "l/evil" }, body: text("x") },
      ],
    ],
    [
      "a folder behind a link",
      [
        { header: { path: "l", type: "symlink", linkPath: ".." } },
        { header: { path: "l/evil", type: "directory" } },
      ],
    ],
    [
      "a folder that became a link",
      [
        { header: { path: "d", type: "directory" } },
        { header: { path: "d/x", type: "directory" } },
        { header: { path: "d/x", type: "symlink", linkPath: "../.." } },
        { header: { path: "d/x/evil" }, body: text("x") },
      ],
    ],
    [
      "a hard link out of the root",
      [{ header: { path: "h", type: "link", linkPath: "../secret" } }],
    ],
    [
      "a hard link through a link",
      [
        { header: { path: "l", type: "symlink", linkPath: ".." } },
        { header: { path: "h", type: "link", linkPath: "l/secret" } },
      ],
    ],
  ];
  for (const [name, entries] of hostile) {
    test(`refuses ${name}`, async () => {
      writeFileSync(`${folder}/secret`, "secret");
      await expect(unpack(entries)).rejects.toThrow();
      expect(existsSync(`${folder}/evil`)).toBe(false);
      expect(existsSync(`${root}/h`)).toBe(false);
    });
  }

  test("cleans an absolute path into the root", async () => {
    await unpack([{ header: { path: "/abs/f" }, body: text("x") }]);
    expect(readFileSync(`${root}/abs/f`, "utf8")).toBe("x");
  });

  test("overwrites neither a folder with a file nor a file with a folder", async () => {
    mkdirSync(`${root}/d`);
    writeFileSync(`${root}/f`, "x");
    await expect(unpack([{ header: { path: "d" }, body: text("x") }])).rejects.toThrow(
      "cannot overwrite directory",
    );
    await expect(unpack([{ header: { path: "f", type: "directory" } }])).rejects.toThrow(
      "cannot overwrite non-directory",
    );
  });
});

const names: [path: string, root: string, name: string, result: string][] = [
  ["etc", "etc", "new", "new"],
  ["etc/", "etc", "new", "new"],
  ["etc/hosts", "etc", "new", "new/hosts"],
  ["etc/hosts", "etc", "", "hosts"],
  ["etc", "etc", "", "."],
  ["./etc/hosts", "etc", "new", "new/hosts"],
  ["/bin/ls", "/", "root", "root/bin/ls"],
  ["etcetera/x", "etc", "new", "etcetera/x"],
  ["./", "/", "new", "new"],
  ["./hosts", "/", "new", "new/hosts"],
  ["./hosts", "/", "", "hosts"],
];
for (const [path, top, name, result] of names) {
  test(`renamed() makes ${path} in ${top} ${result} under "${name}"`, () => {
    expect(renamed(path, top, name)).toBe(result);
  });
}

const places: [text: string, container: string | undefined, path: string][] = [
  ["one:/x", "one", "/x"],
  ["one:x:y", "one", "x:y"],
  ["/a:b", undefined, "/a:b"],
  ["./a:b", undefined, "./a:b"],
  ["plain", undefined, "plain"],
  ["-", undefined, "-"],
];
for (const [place, container, path] of places) {
  test(`parsePlace() reads ${place}`, () => {
    expect(parsePlace(place)).toEqual({ container, path });
  });
}
