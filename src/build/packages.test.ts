import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { listPackages } from "./packages.ts";

let root = "";

function put(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(`${root}/${path}`), { recursive: true });
  writeFileSync(`${root}/${path}`, content, { mode });
}

beforeAll(() => {
  root = mkdtempSync("/tmp/lading-packages-");
  put("etc/os-release", 'ID=debian\nVERSION_ID="12"\n');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A header of rpm's: strings by tag. */
function rpmHeader(fields: Record<number, string>): Uint8Array {
  const entries = Object.entries(fields);
  const head = Buffer.alloc(8 + 16 * entries.length);
  const texts: Buffer[] = [];
  let offset = 0;
  for (const [at, [tag, text]] of entries.entries()) {
    const bytes = Buffer.from(`${text}\0`);
    for (const [index, value] of [Number(tag), 6, offset, 1].entries()) {
      head.writeUInt32BE(value, 8 + 16 * at + 4 * index);
    }
    texts.push(bytes);
    offset += bytes.length;
  }
  head.writeUInt32BE(entries.length, 0);
  head.writeUInt32BE(offset, 4);
  return Buffer.concat([head, ...texts]);
}

/** An ELF file of three sections: none, the names, what Go builds in. */
function goProgram(modules: string): Uint8Array {
  const text = (bytes: Buffer) =>
    Buffer.concat([Buffer.from([bytes.length | 0x80, bytes.length >> 7]), bytes]);
  const framed = Buffer.concat([Buffer.alloc(16, 1), Buffer.from(modules), Buffer.alloc(16, 2)]);
  const magic = Buffer.concat([Buffer.from("\xff Go buildinf:", "latin1"), Buffer.from([8, 2])]);
  const info = Buffer.concat([
    magic,
    Buffer.alloc(16),
    text(Buffer.from("go1.24.1")),
    text(framed),
  ]);
  const names = Buffer.from("\0.shstrtab\0.go.buildinfo\0");
  const head = Buffer.alloc(64);
  head.write("\x7fELF\x02\x01", "latin1");
  const start = 64 + names.length + info.length;
  head.writeBigUInt64LE(BigInt(start), 0x28);
  for (const [at, value] of [64, 3, 1].entries()) head.writeUInt16LE(value, 0x3a + 2 * at);
  const section = (name: number, offset: number, size: number) => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(name, 0);
    bytes.writeBigUInt64LE(BigInt(offset), 0x18);
    bytes.writeBigUInt64LE(BigInt(size), 0x20);
    return bytes;
  };
  const table = [
    section(0, 0, 0),
    section(1, 64, names.length),
    section(11, 64 + names.length, info.length),
  ];
  return Buffer.concat([head, names, info, ...table, Buffer.alloc(70_000)]);
}

test("listPackages() reads dpkg, apk, rpm, npm, pip and Go", () => {
  put(
    "var/lib/dpkg/status",
    "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u1\nDescription: x\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
  );
  put("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a\nArchitecture: all\n");
  put("lib/apk/db/installed", "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:\nV:1\n");
  const database = new Database(":memory:");
  database.run("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)");
  const header = rpmHeader({
    1000: "bash",
    1001: "5.2",
    1002: "1.fc40",
    1014: "GPL-3.0-or-later",
    1022: "x86_64",
  });
  database.run("INSERT INTO Packages VALUES (1, ?), (2, ?)", [header, Buffer.from("damaged")]);
  put("usr/lib/sysimage/rpm/rpmdb.sqlite", database.serialize());
  put("app/node_modules/@a/b/package.json", '{"name":"@a/b","version":"1.0.0","license":"MIT"}');
  put("app/package-lock.json", '{"packages":{"":{},"node_modules/c":{"version":"2.0.0"}}}');
  put("app/package.json", '{"name":"app","version":"9.9.9"}');
  put(
    "usr/lib/python3/Foo_Bar-1.2.dist-info/METADATA",
    "Name: Foo_Bar\nVersion: 1.2\nLicense: BSD\n\nName: no\n",
  );
  put(
    "usr/bin/tool",
    goProgram(
      "path\tx\nmod\texample.org/tool\t(devel)\t\ndep\texample.org/dep\tv1.0.0\th1:\n=>\texample.org/fork\tv1.1.0\th1:\n",
    ),
    0o755,
  );
  put("usr/bin/other", Buffer.alloc(70_000, "\x7fELF"), 0o755);
  put("bad/node_modules/x/package.json", "{");
  symlinkSync("/var/lib/dpkg/status", `${root}/usr/bin/link`);
  const found = listPackages({ path: root }).map(({ purl, license, source }) => [
    purl,
    license,
    source,
  ]);
  expect(found).toEqual([
    ["pkg:apk/debian/musl@1.2.5-r0?arch=x86_64&distro=debian-12", "MIT", "lib/apk/db/installed"],
    [
      "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12",
      "",
      "var/lib/dpkg/status",
    ],
    ["pkg:deb/debian/tzdata@2024a?arch=all&distro=debian-12", "", "var/lib/dpkg/status.d/tzdata"],
    ["pkg:golang/example.org/fork@v1.1.0", "", "usr/bin/tool"],
    ["pkg:golang/example.org/tool", "", "usr/bin/tool"],
    ["pkg:golang/stdlib@1.24.1", "", "usr/bin/tool"],
    ["pkg:npm/%40a/b@1.0.0", "MIT", "app/node_modules/@a/b/package.json"],
    ["pkg:npm/c@2.0.0", "", "app/package-lock.json"],
    ["pkg:pypi/foo-bar@1.2", "BSD", "usr/lib/python3/Foo_Bar-1.2.dist-info/METADATA"],
    [
      "pkg:rpm/debian/bash@5.2-1.fc40?arch=x86_64&distro=debian-12",
      "GPL-3.0-or-later",
      "usr/lib/sysimage/rpm/rpmdb.sqlite",
    ],
  ]);
});
