import { describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { type TarInput, writeTar } from "../archive/mod.ts";
import type { FillRules } from "./fill.ts";
import { entry, Fixture, file, folder, hashOf } from "./fixture.ts";
import type { SnapshotStore } from "./types.ts";

const fixture = new Fixture();
const time = 1_600_000_000;

const entries: TarInput[] = [
  folder("in"),
  file("in/a"),
  folder("in/d", 0o2750),
  file("in/d/b", "b".repeat(300_000)),
  entry({ path: "in/d/link", type: "symlink", linkPath: "../größe" }),
  file("in/d-e"),
  entry({ path: "in/pipe", type: "fifo", mode: 0o640 }),
  file("in/without/folder"),
  file("out"),
];

describe("fill()", () => {
  const rules: FillRules = {
    from: "in",
    isFolder: true,
    exclude: [],
    to: "opt/app",
    owner: { uid: 5, gid: 6 },
    time,
    head: "head",
  };

  /** A snapshot with the folders that lead to the target. */
  async function prepared(): Promise<{ store: SnapshotStore; root: string }> {
    const { store } = await fixture.openNew();
    const parent = await fixture.layerOf(store, [folder("opt"), file("opt/below")]);
    await store.prepare("s", [parent]);
    const root = await store.mount("s");
    mkdirSync(`${root}/opt/app`);
    return { store, root };
  }
  const fill = (store: SnapshotStore, from: TarInput[], more: Partial<FillRules> = {}) =>
    store.fill("s", writeTar(from), {
      rules: { ...rules, ...more },
      timeMax: time,
      signal: AbortSignal.timeout(60_000),
    });

  test("hashes on the way what a commit hashes afterwards", async () => {
    const { store } = await prepared();
    const filled = await fill(store, entries);
    const root = await store.mount("s");
    expect(readdirSync(`${root}/opt/app`).sort()).toEqual(["a", "d", "d-e", "pipe", "without"]);
    expect(readFileSync(`${root}/opt/app/d/b`, "utf8")).toBe("b".repeat(300_000));
    const { uid, gid, mode, mtimeMs } = lstatSync(`${root}/opt/app/without`);
    expect([uid, gid, mode & 0o7777, mtimeMs]).toEqual([5, 6, 0o755, time * 1000]);
    const layer = await store.commit("s", { how: "move", timeMax: time, filled });
    expect(await hashOf(store.layerTar(layer.diffId))).toBe(layer.diffId);

    const { store: other } = await prepared();
    await fill(other, entries);
    const again = await other.commit("s", { how: "move", timeMax: time });
    expect(again).toEqual(layer);
    expect(filled).toMatchObject({ digest: layer.diffId, sizeBytes: layer.sizeBytes });
  });

  test("gives the hash of the lines that describe what came", async () => {
    const { store } = await prepared();
    const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
    const lines = [
      ["file", "a", 0o644, 4, sha256("in/a")],
      ["folder", "d", 0o2750],
      ["file", "d/b", 0o644, 300_000, sha256("b".repeat(300_000))],
      ["link", "d/link", Buffer.from("../größe").toString("latin1")],
      ["file", "d-e", 0o644, 6, sha256("in/d-e")],
      ["fifo", "pipe", 0o640, 0, 0],
      ["folder", "without", 0o755],
      ["file", "without/folder", 0o644, 17, sha256("in/without/folder")],
    ];
    const { listing } = await fill(store, entries);
    expect(listing).toBe(sha256(`head${lines.map((line) => JSON.stringify(line)).join("")}`));
  });

  test("takes one file, and leaves out what is excluded", async () => {
    const { store } = await prepared();
    await fill(store, entries, { from: "in/a", isFolder: false, to: "opt/app/name" });
    const root = await store.mount("s");
    expect(readFileSync(`${root}/opt/app/name`, "utf8")).toBe("in/a");
    expect(readdirSync(`${root}/opt/app`).sort()).toEqual(["name"]);

    const { store: other } = await prepared();
    await fill(other, entries, { exclude: ["d", "pipe", "without/folder"] });
    expect(readdirSync(`${await other.mount("s")}/opt/app`).sort()).toEqual(["a", "d-e"]);
  });

  test("says that it does not know where files have several names, or stand for deletions", async () => {
    const { store } = await prepared();
    const link = entry({ path: "in/b", type: "link", linkPath: "in/a" });
    const filled = await fill(store, [...entries.slice(0, 2), link]);
    expect(filled.listing).toBeUndefined();
    const layer = await store.commit("s", { how: "move", timeMax: time });
    expect(await hashOf(store.layerTar(layer.diffId))).toBe(layer.diffId);

    const { store: other } = await prepared();
    expect((await fill(other, [file("in/.wh.a")])).listing).toBeUndefined();
    await expect(other.commit("s", { how: "move", timeMax: time })).rejects.toThrow(
      "such a name means a deleted file",
    );
  });

  test.each([
    ["a path that leads out", [file("in/../../../x")], "leads out of its root"],
    ["a device", [entry({ path: "in/null", type: "char", deviceMajor: 1 })], "it is a device"],
    [
      "a link to what is not there",
      [entry({ path: "in/l", type: "link", linkPath: "/etc/passwd" })],
      "no such file",
    ],
    ["what is no archive", [], "it is not a tar"],
  ] as const)("refuses %s, and nothing is left", async (name, given, why) => {
    const { store, root } = await prepared();
    const outside = `${fixture.base}/outside`;
    writeFileSync(outside, "as it was");
    async function* noise() {
      yield new Uint8Array(700).fill(65);
    }
    const tar = name.includes("no archive") ? noise() : writeTar([...given]);
    const signal = AbortSignal.timeout(60_000);
    await expect(store.fill("s", tar, { rules, timeMax: time, signal })).rejects.toThrow(why);
    await store.remove("s");
    expect(existsSync(root)).toBe(false);
    expect(readFileSync(outside, "utf8")).toBe("as it was");
  });

  test("follows no link that the archive made", async () => {
    const { store } = await prepared();
    const outside = `${fixture.base}/target`;
    mkdirSync(outside, { recursive: true });
    const link = entry({ path: "in/l", type: "symlink", linkPath: outside });
    await fill(store, [link, file("in/l/x")]);
    expect(readdirSync(outside)).toEqual([]);
  });

  test("stops when it is told to", async () => {
    const { store } = await prepared();
    const stop = new AbortController();
    async function* slow() {
      yield* writeTar([file("in/a", "a".repeat(100_000))]);
      stop.abort();
      yield new Uint8Array(1024);
      await Promise.withResolvers<void>().promise;
    }
    const filling = store.fill("s", slow(), { rules, timeMax: time, signal: stop.signal });
    await expect(filling).rejects.toThrow("given up");
    await store.remove("s");
  });
});
