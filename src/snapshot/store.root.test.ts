import { beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Digest, digestOf } from "../oci/mod.ts";
import { listMounts } from "../sys/mod.ts";
import { entry, Fixture, file, folder, type Open } from "./fixture.ts";

const fixture = new Fixture();
const read = (path: string) => readFileSync(path, "utf8");

describe("a snapshot", () => {
  let open: Open;
  let lower: Digest;
  let upper: Digest;
  beforeAll(async () => {
    open = await fixture.openNew();
    lower = await fixture.layerOf(open.store, [
      entry({ path: ".", type: "directory", mode: 0o711, uid: 9 }),
      folder("etc"),
      file("etc/hosts", "low"),
      file("etc/passwd", "low"),
      folder("old"),
      file("old/a"),
      folder("hidden"),
      file("hidden/a"),
    ]);
    upper = await fixture.layerOf(open.store, [
      folder("etc"),
      file("etc/hosts", "high"),
      file("etc/.wh.passwd", ""),
      file(".wh.old", ""),
      folder("hidden"),
      file("hidden/.wh..wh..opq", ""),
      file("hidden/b"),
    ]);
  });

  test("shows its layers as one tree, and takes writes", async () => {
    const { store } = open;
    await store.prepare("one", [lower, upper]);
    const root = await store.mount("one");
    expect(await store.mount("one")).toBe(root);
    expect(readdirSync(root).sort()).toEqual(["etc", "hidden"]);
    expect(readdirSync(`${root}/etc`)).toEqual(["hosts"]);
    expect(readdirSync(`${root}/hidden`)).toEqual(["b"]);
    expect(read(`${root}/etc/hosts`)).toBe("high");
    expect([statSync(root).mode & 0o7777, statSync(root).uid]).toEqual([0o711, 9]);
    writeFileSync(`${root}/etc/hosts`, "mine");
    const { merged, ...others } = store.folders("one")!;
    expect(merged).toBe(root);
    expect(read(`${others.upper}/etc/hosts`)).toBe("mine");
    expect(others.lower).toEqual([upper, lower].map((diffId) => store.layerFolder(diffId)!));
    expect([...others.lower, others.work].every((path) => existsSync(path))).toBe(true);
    await store.unmount("one");
    await store.unmount("one");
    expect(store.folders("one")).toEqual({ ...others, merged: undefined });
    expect(store.folders("absent")).toBeUndefined();
    expect(existsSync(`${root}/etc`)).toBe(false);
    expect(read(`${await store.mount("one")}/etc/hosts`)).toBe("mine");
    await store.remove("one");
    await store.remove("one");
    expect([store.has("one"), store.keys()]).toEqual([false, []]);
    expect(fixture.mounts(open.directory)).toEqual([]);
  });

  test("may be volatile, and is mounted again after an unclean end", async () => {
    const { store } = open;
    await store.prepare("v", [lower], { volatile: true });
    const root = await store.mount("v");
    expect(listMounts().find(({ target }) => target === root)?.options).toContain("volatile");
    writeFileSync(`${root}/x`, "x");
    await store.unmount("v");
    expect(read(`${await store.mount("v")}/x`)).toBe("x");
    await store.remove("v");
  });

  test("may stand on nothing", async () => {
    const { store } = open;
    await store.prepare("empty", []);
    const root = await store.mount("empty");
    expect([readdirSync(root), statSync(root).mode & 0o7777]).toEqual([[], 0o755]);
    mkdirSync(`${root}/d`);
    expect(await store.changes("empty")).toEqual([{ path: "/d", kind: 1 }]);
    await store.remove("empty");
  });

  test("has a key of its own and parents that exist", async () => {
    const { store } = open;
    await store.prepare("taken", [lower]);
    await expect(store.prepare("taken", [])).rejects.toMatchObject({ code: "conflict" });
    await expect(store.prepare("x", [digestOf("none")])).rejects.toMatchObject({
      code: "not_found",
    });
    await expect(store.mount("absent")).rejects.toMatchObject({ code: "not_found" });
    await expect(store.removeLayer(lower)).rejects.toMatchObject({ code: "conflict" });
    await store.remove("taken");
    await store.removeLayer(digestOf("none"));
  });

  test("renames directories by copying, so that its layer depends on no other", async () => {
    const { store } = open;
    await store.prepare("rename", [lower]);
    const root = await store.mount("rename");
    expect(() => renameSync(`${root}/old`, `${root}/new`)).toThrow("EXDEV");
    chmodSync(`${root}/etc/hosts`, 0o600);
    await store.unmount("rename");
    const layer = await store.commit("rename", { how: "move" });
    expect(layer.sizeBytes).toBe(3); // the whole file, not its metadata alone
    await store.removeLayer(layer.diffId);
  });

  test("stands on 127 layers and more, in order", async () => {
    const { store } = open;
    const layers: Digest[] = [];
    for (let at = 0; at < 300; at++) {
      layers.push(await fixture.layerOf(store, [file("top", `${at}`), file(`f${at}`, "")]));
    }
    for (const depth of [127, 300]) {
      await store.prepare("deep", layers.slice(0, depth));
      const root = await store.mount("deep");
      expect(readdirSync(root).length).toBe(depth + 1);
      expect(read(`${root}/top`)).toBe(`${depth - 1}`);
      writeFileSync(`${root}/top`, "mine");
      expect(await store.changes("deep")).toEqual([{ path: "/top", kind: 0 }]);
      await store.remove("deep");
    }
    expect(process.cwd()).toBe(import.meta.dir.replace(/\/src\/.*/, ""));
  });

  test("in a directory whose name holds what separates mount options", async () => {
    const { store, database } = await fixture.openIn(`${fixture.base}/odd, name:with\\signs`);
    const layers = [
      await fixture.layerOf(store, [file("a")]),
      await fixture.layerOf(store, [file("b")]),
    ];
    await store.prepare("odd", layers);
    expect(readdirSync(await store.mount("odd")).sort()).toEqual(["a", "b"]);
    await store.remove("odd");
    database.close();
  });
});

describe("openSnapshotStore() and reconcile()", () => {
  test("take over what is mounted, and remove what a crash left", async () => {
    const { store, directory, database } = await fixture.openNew();
    const layer = await fixture.layerOf(store, [file("a")]);
    await store.prepare("kept", [layer]);
    const root = await store.mount("kept");
    await store.prepare("stale", [layer]);
    await store.mount("stale");
    const snapshots = `${directory}/snapshot`;
    mkdirSync(`${snapshots}/ingest/half`);
    mkdirSync(`${snapshots}/layers/zz`);
    mkdirSync(`${snapshots}/snapshots/zy/files`, { recursive: true });
    database.close();

    const next = await fixture.openIn(directory);
    const done = await next.store.reconcile(new Set(["kept"]));
    expect(done.length).toBe(4);
    expect(next.store.keys()).toEqual(["kept"]);
    expect(fixture.mounts(directory)).toEqual([root]);
    expect(readdirSync(`${snapshots}/layers`).length).toBe(2);
    expect(readdirSync(`${snapshots}/snapshots`).length).toBe(1);
    expect(await next.store.mount("kept")).toBe(root);
    expect(await next.store.reconcile(new Set(["kept"]))).toEqual([]);
    await next.store.prepare("new", [layer]); // its number is none of those that were there
    await next.store.remove("new");
    await next.store.remove("kept");
    expect(fixture.mounts(directory)).toEqual([]);
    await next.store.removeLayer(layer);
  });

  test("drop a layer that another boot did not see synced, unless something stands on it", async () => {
    const { store, directory, database } = await fixture.openNew();
    const lost = await fixture.layerOf(store, [file("lost")]);
    const used = await fixture.layerOf(store, [file("used")]);
    await store.prepare("user", [used]);
    database.run("UPDATE snapshot_layers SET boot = 'an earlier boot'");
    database.close();
    const next = await fixture.openIn(directory);
    const done = await next.store.reconcile(new Set(["user"]));
    expect(done.map((line) => line.split(" ")[0])).toEqual(["removed", "kept,"]);
    expect(next.store.layer(lost)).toBeUndefined();
    expect(next.store.layer(used)).toBeDefined();
    await next.store.remove("user");
  });
});
