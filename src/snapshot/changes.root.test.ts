import { beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { Fixture, file, folder } from "./fixture.ts";
import type { SnapshotStore } from "./types.ts";

const fixture = new Fixture();

describe("changes()", () => {
  let store: SnapshotStore;
  let root: string;
  beforeAll(async () => {
    ({ store } = await fixture.openNew());
    const low = await fixture.layerOf(store, [
      folder("bin"),
      file("bin/a"),
      file("bin/b"),
      folder("etc"),
      file("etc/conf"),
      folder("var"),
      folder("var/deep"),
      file("var/deep/f"),
      folder("gone"),
      file("gone/x"),
      folder("again"),
      file("again/x"),
      file("again/y"),
      file("kind"),
      folder("folder"),
      file("folder/in"),
      folder("dev"),
    ]);
    const high = await fixture.layerOf(store, [folder("opt"), file("opt/tool")]);
    await store.prepare("c", [low, high]);
    root = await store.mount("c");
    writeFileSync(`${root}/var/deep/f`, "longer than before");
    rmSync(`${root}/gone`, { recursive: true });
    rmSync(`${root}/again`, { recursive: true });
    mkdirSync(`${root}/again`);
    writeFileSync(`${root}/again/y`, "new y");
    rmSync(`${root}/kind`);
    mkdirSync(`${root}/kind/of`, { recursive: true });
    rmSync(`${root}/folder`, { recursive: true });
    writeFileSync(`${root}/folder`, "now a file");
    mkdirSync(`${root}/new/inner`, { recursive: true });
    writeFileSync(`${root}/new/inner/f`, "f");
    closeSync(openSync(`${root}/bin/a`, "r+")); // copied up, left as it was
    chmodSync(`${root}/opt/tool`, 0o700);
    chmodSync(`${root}/etc`, 0o700);
    symlinkSync("nowhere", `${root}/link`);
    mkdirSync(`${root}/proc`);
    mkdirSync(`${root}/run/lock`, { recursive: true });
    mkdirSync(`${root}/dev/pts`);
    writeFileSync(`${root}/etc/hosts`, "");
  });

  const expected: [string, number][] = [
    ["/again", 0],
    ["/again/x", 2],
    ["/again/y", 0],
    ["/dev", 0],
    ["/dev/pts", 1],
    ["/etc", 0],
    ["/etc/hosts", 1],
    ["/folder", 0],
    ["/gone", 2],
    ["/kind", 0],
    ["/kind/of", 1],
    ["/link", 1],
    ["/new", 1],
    ["/new/inner", 1],
    ["/new/inner/f", 1],
    ["/opt", 0],
    ["/opt/tool", 0],
    ["/proc", 1],
    ["/run", 1],
    ["/run/lock", 1],
    ["/var", 0],
    ["/var/deep", 0],
    ["/var/deep/f", 0],
  ];
  const asPairs = (changes: readonly { path: string; kind: number }[]) =>
    changes.map(({ path, kind }) => [path, kind]);

  test("lists what Docker lists", async () => {
    expect(asPairs(await store.changes("c"))).toEqual(expected);
  });

  test("leaves out what the runtime made to mount on", async () => {
    const mountPoints = [
      "/proc",
      "/dev/pts",
      "/etc/hosts",
      "/run/lock",
      "/opt/tool",
      "/new/inner",
      "/absent",
    ];
    const left = ["/proc", "/dev/pts", "/dev", "/etc/hosts", "/run", "/run/lock"];
    expect(asPairs(await store.changes("c", { mountPoints }))).toEqual(
      expected.filter(([path]) => !left.includes(path)),
    );
  });

  test("of an untouched snapshot is empty, and usage() counts the writable layer's bytes", async () => {
    const before = await store.usage("c");
    expect(before).toBe(
      "longer than before".length + "new y".length + "now a file".length + 1 + 5 + 8,
    ); // bin/a and opt/tool were copied up
    await store.prepare(
      "clean",
      store.layers().map(({ diffId }) => diffId),
    );
    await store.mount("clean");
    expect(await store.changes("clean")).toEqual([]);
    await store.remove("clean");
    await store.remove("c");
  });
});
