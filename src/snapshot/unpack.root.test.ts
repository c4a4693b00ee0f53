import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type TarFields, type TarInput, writeTar } from "../archive/mod.ts";
import { closeFile, getXattr, mountNow, nextData, open, openPath, unmountNow } from "../sys/mod.ts";
import { unpackTar } from "./tar.ts";
import type { UnpackRules } from "./unpack.ts";

const base = mkdtempSync("/var/tmp/lading-unpack-");
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

/** A fresh root, beside a file that no archive may touch. */
function freshRoot(): { root: string; outside: string } {
  const folder = `${base}/${count++}`;
  mkdirSync(`${folder}/root`, { recursive: true });
  chmodSync(`${folder}/root`, 0o755);
  writeFileSync(`${folder}/secret`, "secret", { mode: 0o600 });
  mkdirSync(`${folder}/victim`);
  return { root: `${folder}/root`, outside: folder };
}

function checkOutside(outside: string): void {
  expect(readFileSync(`${outside}/secret`, "utf8")).toBe("secret");
  expect(statSync(`${outside}/secret`).mode & 0o7777).toBe(0o600);
  expect(statSync(`${outside}/secret`).nlink).toBe(1);
  expect(readdirSync(`${outside}/victim`)).toEqual([]);
  expect(readdirSync(outside).sort()).toEqual(["root", "secret", "victim"]);
}

const file = (path: string, text = path): TarInput => ({
  header: { path },
  body: Buffer.from(text),
});
const entry = (header: TarFields): TarInput => ({ header });
const folder = (path: string, mode = 0o755) => entry({ path, type: "directory", mode });
const link = (path: string, linkPath: string) => entry({ path, type: "link", linkPath });
const symlink = (path: string, linkPath: string) => entry({ path, type: "symlink", linkPath });
const layer: UnpackRules = { whiteouts: "overlay", devices: true, setRoot: true };
const read = (path: string) => readFileSync(path, "utf8");

describe("unpackTar() refuses", () => {
  const hostile: [why: string, entries: TarInput[], rules: UnpackRules, code?: string][] = [
    ["a path that climbs out", [file("../secret", "evil")], {}],
    ["an absolute path that climbs out", [file("/../../secret", "evil")], {}],
    ["a path that climbs out in its middle", [file("a/../../victim/evil")], {}],
    ["a hard link out of the root", [link("stolen", "../secret")], {}],
    [
      "a hard link through a symbolic link out of the root",
      [symlink("up", ".."), link("stolen", "up/secret")],
      {},
    ],
    ["a hard link to a directory", [folder("d"), link("l", "d")], {}],
    ["a hard link to nothing", [link("l", "absent")], {}],
    [
      "a device where none is allowed",
      [entry({ path: "disk", type: "block", deviceMajor: 8 })],
      {},
    ],
    [
      "overlayfs's own attributes",
      [
        entry({
          path: "d",
          type: "directory",
          xattrs: new Map([["trusted.overlay.redirect", Buffer.from("/")]]),
        }),
      ],
      layer,
    ],
    ["a whiteout of the parent", [file("d/.wh...")], layer],
    ["a whiteout of the folder itself", [file("d/.wh..")], layer],
    ["a whiteout of nothing", [file("d/.wh.")], layer],
    ["a file below a file", [file("a"), file("a/b")], {}],
    ["a file below a dangling link", [symlink("a", "nowhere"), file("a/b")], {}],
    ["a folder loop of links", [symlink("a", "b"), symlink("b", "a"), file("a/c")], {}],
    ["a root that is a file", [file(".")], layer],
    ["a folder over a file, when kinds are kept", [file("a"), folder("a")], { keepKinds: true }],
    ["a file over a folder, when kinds are kept", [folder("a"), file("a")], { keepKinds: true }],
  ];
  for (const [why, entries, rules, code = "invalid"] of hostile) {
    test(why, async () => {
      const { root, outside } = freshRoot();
      const unpacking = unpackTar(writeTar([file("before"), ...entries]), root, rules);
      await expect(unpacking).rejects.toMatchObject({ name: "Failure", code });
      checkOutside(outside);
    });
  }

  const bounds = { entriesMax: 10, sizeBytesMax: 1000, pathBytesMax: 100 };
  for (const [why, entries, code] of [
    ["too many entries", Array.from({ length: 11 }, (_, at) => file(`f${at}`)), "exhausted"],
    ["too many bytes", [file("a", "x".repeat(600)), file("b", "x".repeat(600))], "exhausted"],
    ["too long a path", [file("x/".repeat(60))], "invalid"],
  ] as const) {
    test(why, async () => {
      const { root } = freshRoot();
      await expect(unpackTar(writeTar(entries), root, bounds)).rejects.toMatchObject({ code });
    });
  }

  test("every truncation of a tar, without a hang", async () => {
    const whole = Buffer.concat(
      await Array.fromAsync(writeTar([file("a", "x".repeat(900)), file("b")])),
    );
    const { root } = freshRoot();
    for (let length = 1; length < whole.length - 1024; length += 301) {
      const path = `${base}/cut.tar`;
      writeFileSync(path, whole.subarray(0, length));
      await expect(unpackTar(path, root, { end: "required" })).rejects.toMatchObject({
        code: "corrupt",
      });
    }
  });
});

describe("unpackTar() keeps inside the root", () => {
  const escapes: [why: string, entries: TarInput[], inside: string][] = [
    [
      "a file through an absolute link",
      [symlink("l", "/victim"), folder("victim"), file("l/evil")],
      "victim/evil",
    ],
    [
      "a file through a link that climbs",
      [folder("victim"), symlink("l", "../../../victim"), file("l/evil")],
      "victim/evil",
    ],
    [
      "a file through a link to a link",
      [folder("victim"), symlink("one", "/two"), symlink("two", "../victim"), file("one/evil")],
      "victim/evil",
    ],
    [
      "a folder through a link",
      [folder("victim"), symlink("l", "../victim"), folder("l/evil")],
      "victim/evil",
    ],
    [
      "a hard link through a link",
      [file("secret", "mine"), symlink("l", ".."), link("copy", "l/secret")],
      "copy",
    ],
  ];
  for (const [why, entries, inside] of escapes) {
    test(why, async () => {
      const { root, outside } = freshRoot();
      await unpackTar(writeTar(entries), root);
      checkOutside(outside);
      expect(existsSync(`${root}/${inside}`)).toBe(true);
    });
  }

  test("a file over a symbolic link, which it replaces and does not follow", async () => {
    const { root, outside } = freshRoot();
    await unpackTar(writeTar([symlink("l", `${outside}/secret`), file("l", "new")]), root);
    checkOutside(outside);
    expect(lstatSync(`${root}/l`).isFile()).toBe(true);
  });

  test.each([
    ["a folder over a link", [symlink("d/x", "../.."), folder("d/x"), file("d/x/f")], "d/x/f"],
    ["a file over a folder", [folder("d/x"), file("d/x/f"), file("d/x")], "d/x"],
    ["a file over a link", [symlink("d/x", "../.."), file("d/x")], "d/x"],
  ] as const)("%s in a folder that is open", async (_, entries, inside) => {
    const { root, outside } = freshRoot();
    await unpackTar(writeTar([folder("d"), file("d/before"), ...entries, file("d/after")]), root);
    checkOutside(outside);
    expect(readFileSync(`${root}/${inside}`, "utf8")).toBe(inside);
    expect(readdirSync(`${root}/d`).sort()).toEqual(["after", "before", "x"]);
  });

  test("a mode and an owner for a name that is a link", async () => {
    const { root, outside } = freshRoot();
    const entries = [
      entry({ path: "l", type: "symlink", linkPath: "../secret", mode: 0o777, uid: 7 }),
    ];
    await unpackTar(writeTar(entries), root);
    checkOutside(outside);
    expect(statSync(`${outside}/secret`).uid).toBe(0);
    expect(lstatSync(`${root}/l`).uid).toBe(7);
  });

  test("`into`, even where the tree has a link in its place", async () => {
    const { root, outside } = freshRoot();
    symlinkSync("../victim", `${root}/l`);
    mkdirSync(`${root}/victim`);
    await unpackTar(writeTar([file("evil")]), root, { into: "/l" });
    await unpackTar(writeTar([file("new")]), root, { into: "made/for/it" });
    checkOutside(outside);
    expect(read(`${root}/victim/evil`)).toBe("evil");
    expect(read(`${root}/made/for/it/new`)).toBe("new");
    expect(statSync(`${root}/made/for`).mode & 0o7777).toBe(0o755);
  });

  test("a deletion by whiteout, when whiteouts are applied", async () => {
    const { root, outside } = freshRoot();
    symlinkSync("..", `${root}/up`);
    await unpackTar(writeTar([file("up/.wh.secret"), file("up/victim/.wh..wh..opq")]), root, {
      whiteouts: "apply",
    });
    checkOutside(outside);
  });
});

describe("unpackTar() reproduces", () => {
  test("owners, modes, times, links, nodes, attributes and content", async () => {
    const { root } = freshRoot();
    const time = { mtimeSeconds: 1_500_000_000, mtimeNanoseconds: 123_456_789 };
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
    const entries: TarInput[] = [
      entry({ path: "d", type: "directory", mode: 0o2770, uid: 5, gid: 6, ...time }),
      {
        header: {
          path: "d/su",
          mode: 0o6755,
          uid: 1000,
          gid: 1000,
          ...time,
          xattrs: new Map([["security.capability", capability]]),
        },
        body: Buffer.from("su"),
      },
      link("d/hard", "d/su"),
      entry({ path: "s", type: "symlink", linkPath: "d/su", uid: 3, gid: 4, ...time }),
      entry({ path: "null", type: "char", mode: 0o666, deviceMajor: 1, deviceMinor: 3 }),
      entry({ path: "disk", type: "block", mode: 0o660, deviceMajor: 259, deviceMinor: 300 }),
      entry({ path: "pipe", type: "fifo", mode: 0o622 }),
      { header: { path: "user", xattrs: new Map([["user.note", Buffer.from("n")]]) } },
      file("raw\udcff", "bytes"),
    ];
    const found = await unpackTar(writeTar(entries), root, { devices: true });
    expect(found).toEqual({ entries: 9, sizeBytes: 7, hasRoot: false });
    const stat = (name: string) => lstatSync(`${root}/${name}`, { bigint: true });
    const ns = 1_500_000_000_123_456_789n;
    expect([stat("d").mode & 0o7777n, stat("d").uid, stat("d").gid, stat("d").mtimeNs]).toEqual([
      0o2770n,
      5n,
      6n,
      ns,
    ]);
    expect([stat("d/su").mode & 0o7777n, stat("d/su").uid, stat("d/su").mtimeNs]).toEqual([
      0o6755n,
      1000n,
      ns,
    ]);
    expect(stat("d/hard").ino).toBe(stat("d/su").ino);
    expect([readlinkSync(`${root}/s`), stat("s").uid, stat("s").mtimeNs]).toEqual(["d/su", 3n, ns]);
    expect([stat("null").mode & 0o7777n, stat("null").rdev]).toEqual([0o666n, 0x103n]);
    expect(stat("disk").isBlockDevice()).toBe(true);
    expect(Bun.spawnSync(["stat", "-c", "%Hr %Lr", `${root}/disk`]).stdout.toString()).toBe(
      "259 300\n",
    );
    expect([stat("pipe").isFIFO(), stat("pipe").mode & 0o7777n]).toEqual([true, 0o622n]);
    expect(getXattr(`${root}/d/su`, "security.capability")).toEqual(capability);
    expect(getXattr(`${root}/user`, "user.note")?.toString()).toBe("n");
    expect(
      readFileSync(Buffer.concat([Buffer.from(`${root}/raw`), Buffer.from([0xff])]), "utf8"),
    ).toBe("bytes");
  });

  test("holes of a sparse file", async () => {
    const { root, outside } = freshRoot();
    const script = `truncate -s 64M ${base}/holes && printf mid | dd of=${base}/holes bs=1 seek=33554432 conv=notrunc status=none && tar -C ${base} --sparse -cf ${base}/holes.tar holes`;
    expect(Bun.spawnSync(["sh", "-c", script]).exitCode).toBe(0);
    await unpackTar(`${base}/holes.tar`, root);
    const stat = statSync(`${root}/holes`);
    expect(stat.size).toBe(64 << 20);
    expect(stat.blocks * 512).toBeLessThan(1 << 20);
    expect(Bun.spawnSync(["cmp", `${root}/holes`, `${base}/holes`]).exitCode).toBe(0);
    const fd = openPath(`${root}/holes`, open.readOnly);
    expect(nextData(fd, 0)!.start).toBeGreaterThan(32 << (20 - 1));
    closeFile(fd);
    checkOutside(outside);
  });

  test("the last of several entries of one name, of whatever kind", async () => {
    const { root } = freshRoot();
    const entries = [
      file("a", "first"),
      file("a", "second"),
      file("b"),
      folder("b"),
      file("b/in"),
      folder("c"),
      file("c/in"),
      file("c", "file"),
      symlink("d", "a"),
      folder("d"),
      folder("e"),
      file("e/kept"),
      folder("e", 0o700),
      file("f", "f"),
      link("g", "f"),
      link("g", "f"),
      link("f", "f"),
    ];
    await unpackTar(writeTar(entries), root);
    expect(read(`${root}/a`)).toBe("second");
    expect(read(`${root}/b/in`)).toBe("b/in");
    expect(read(`${root}/c`)).toBe("file");
    expect(lstatSync(`${root}/d`).isDirectory()).toBe(true);
    expect([read(`${root}/e/kept`), statSync(`${root}/e`).mode & 0o777]).toEqual(["e/kept", 0o700]);
    expect([read(`${root}/g`), statSync(`${root}/g`).nlink]).toEqual(["f", 2]);
  });

  test("parents that the archive leaves out, 0755 and root's", async () => {
    const { root } = freshRoot();
    await unpackTar(writeTar([file("x/y/z")]), root);
    const { mode, uid } = statSync(`${root}/x/y`);
    expect([mode & 0o7777, uid]).toEqual([0o755, 0]);
  });

  for (const [name, argv] of [
    ["gzip", ["gzip", "-c"]],
    ["zstd", ["zstd", "-qc"]],
    ["bzip2", ["bzip2", "-c"]],
    ["xz", ["xz", "-c"]],
  ] as const) {
    test(`a ${name} archive, from a file and from a stream, and refuses it cut short`, async () => {
      const tar = Buffer.concat(
        await Array.fromAsync(writeTar([file("a", "x".repeat(500_000)), file("b")])),
      );
      writeFileSync(`${base}/in.tar`, tar);
      const packed = Bun.spawnSync([...argv, `${base}/in.tar`]).stdout;
      const path = `${base}/in.tar.${name}`;
      writeFileSync(path, packed);
      for (const source of [path, Bun.file(path).stream() as AsyncIterable<Uint8Array>]) {
        const { root } = freshRoot();
        expect((await unpackTar(source, root)).sizeBytes).toBe(500_001);
        expect(statSync(`${root}/a`).size).toBe(500_000);
      }
      writeFileSync(path, packed.subarray(0, packed.length - 20));
      await expect(unpackTar(path, freshRoot().root)).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  test("what rules ask for: another owner, another name, only a part", async () => {
    const { root } = freshRoot();
    const entries = [folder("src"), file("src/a"), file("other"), link("src/b", "src/a")];
    await unpackTar(writeTar(entries), root, {
      owner: { uid: 11, gid: 12 },
      rename: { from: "src", to: "dst/here" },
    });
    expect(readdirSync(root)).toEqual(["dst"]);
    expect(readdirSync(`${root}/dst/here`).sort()).toEqual(["a", "b"]);
    expect([statSync(`${root}/dst/here/a`).uid, statSync(`${root}/dst/here/a`).nlink]).toEqual([
      11, 2,
    ]);
  });
});

describe("whiteouts", () => {
  const isMark = (path: string) =>
    lstatSync(path).isCharacterDevice() && lstatSync(path).rdev === 0;
  const opaque = (path: string) => getXattr(path, "trusted.overlay.opaque")?.toString();

  test("become overlayfs's marks", async () => {
    const { root } = freshRoot();
    const entries = [
      folder("d"),
      file("d/.wh..wh..opq", ""),
      file("e/.wh.gone", ""),
      file(".wh..wh.plnk", ""),
    ];
    await unpackTar(writeTar(entries), root, layer);
    expect(opaque(`${root}/d`)).toBe("y");
    expect(isMark(`${root}/e/gone`)).toBe(true);
    expect(readdirSync(root).sort()).toEqual(["d", "e"]);
  });

  test("speak of lower layers only, before and after what the layer itself has", async () => {
    const { root } = freshRoot();
    const entries = [
      file("a"),
      file(".wh.a", ""),
      file(".wh.b", ""),
      file("b"),
      folder("c"),
      file("c/in"),
      file(".wh.c", ""),
      file(".wh.d", ""),
      folder("d"),
      file("d/in"),
      file(".wh.e", ""),
      file("e/in"),
    ];
    await unpackTar(writeTar(entries), root, layer);
    expect([read(`${root}/a`), read(`${root}/b`)]).toEqual(["a", "b"]);
    for (const name of ["c", "d", "e"]) {
      expect(opaque(`${root}/${name}`)).toBe("y");
      expect(read(`${root}/${name}/in`)).toBe(`${name}/in`);
    }
  });

  test("delete what is there when applied, but not what the archive brought", async () => {
    const { root } = freshRoot();
    mkdirSync(`${root}/d/deep`, { recursive: true });
    for (const name of ["old", "d/old", "d/deep/old"]) writeFileSync(`${root}/${name}`, "old");
    const entries = [
      file("d/new"),
      file("d/.wh..wh..opq", ""),
      file(".wh.old", ""),
      file(".wh.absent", ""),
    ];
    await unpackTar(writeTar(entries), root, { whiteouts: "apply" });
    expect([readdirSync(root), readdirSync(`${root}/d`)]).toEqual([["d"], ["new"]]);
  });

  test("are ordinary names by default", async () => {
    const { root } = freshRoot();
    await unpackTar(writeTar([file(".wh.a")]), root);
    expect(readdirSync(root)).toEqual([".wh.a"]);
  });
});

describe("limits of the machine", () => {
  test('a full disk is "exhausted"', async () => {
    const { root } = freshRoot();
    mountNow({ type: "tmpfs", source: "tmpfs", target: root, data: "size=1m" });
    try {
      const big = { header: { path: "big" }, body: Buffer.alloc(4 << 20) };
      await expect(unpackTar(writeTar([big]), root)).rejects.toMatchObject({ code: "exhausted" });
    } finally {
      unmountNow(root, { detach: true });
    }
  });

  test("an aborted unpacking ends, also when its source never does", async () => {
    const { root } = freshRoot();
    const stop = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield* writeTar([{ header: { path: "f", sizeBytes: 0 } }]);
      setTimeout(() => stop.abort(), 20);
      await new Promise(() => {});
    }
    const unpacking = unpackTar(endless(), root, { signal: stop.signal });
    await expect(unpacking).rejects.toMatchObject({ name: "Failure", code: "unavailable" });
  });

  test("a source that fails fails the unpacking with its own error", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(100);
      throw new Error("the client went away");
    }
    await expect(unpackTar(broken(), freshRoot().root)).rejects.toThrow("the client went away");
  });
});
