import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { type TarFields, type TarInput, writeTar } from "../archive/mod.ts";
import { type Digest, digestOf } from "../oci/mod.ts";
import { getXattr, listMounts, mountNow, unmountNow } from "../sys/mod.ts";
import { openSnapshotStore } from "./store.ts";
import type { SnapshotStore } from "./types.ts";

const base = mkdtempSync("/var/tmp/lading-snapshot-");
let stores = 0;
const mounts = () =>
  listMounts()
    .map(({ target }) => target)
    .filter((target) => target.startsWith(base));
afterAll(() => {
  for (const target of mounts()) unmountNow(target, { detach: true });
  rmSync(base, { recursive: true, force: true });
});

interface Open {
  readonly store: SnapshotStore;
  readonly directory: string;
  readonly database: Database;
}

async function openIn(directory: string): Promise<Open> {
  mkdirSync(directory, { recursive: true });
  const database = new Database(`${directory}/db.sqlite`);
  database.run("PRAGMA journal_mode = WAL");
  const store = await openSnapshotStore({ directory: `${directory}/snapshot`, database });
  return { store, directory, database };
}
const openNew = () => openIn(`${base}/${stores++}`);

const file = (path: string, text = path): TarInput => ({
  header: { path },
  body: Buffer.from(text),
});
const entry = (header: TarFields): TarInput => ({ header });
const folder = (path: string, mode = 0o755) => entry({ path, type: "directory", mode });
let tars = 0;

async function tarOf(entries: TarInput[]): Promise<{ path: string; diffId: Digest }> {
  const bytes = Buffer.concat(await Array.fromAsync(writeTar(entries)));
  const path = `${base}/${tars++}.tar`;
  writeFileSync(path, bytes);
  return { path, diffId: digestOf(bytes) };
}

async function layerOf(store: SnapshotStore, entries: TarInput[]): Promise<Digest> {
  const { path, diffId } = await tarOf(entries);
  return (await store.unpack(path, { diffId })).diffId;
}

async function hashOf(tar: AsyncIterable<Uint8Array>): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const part of tar) hasher.update(part);
  return `sha256:${hasher.digest("hex")}`;
}

const read = (path: string) => readFileSync(path, "utf8");

describe("unpack()", () => {
  test("makes a layer once, whatever its tar is packed with", async () => {
    const { store, directory } = await openNew();
    const { path, diffId } = await tarOf([file("a")]);
    const layer = await store.unpack(path, {});
    expect(layer).toMatchObject({ diffId, sizeBytes: 1, origin: "archive" });
    expect(Bun.spawnSync(["gzip", "-k", path]).exitCode).toBe(0);
    expect(await store.unpack(`${path}.gz`, { diffId })).toEqual(layer);
    expect(await store.unpack("/absent", { diffId })).toEqual(layer);
    expect((await store.unpack(`${path}.gz`, {})).diffId).toBe(diffId);
    expect(store.layers().length).toBe(1);
    expect(readdirSync(`${directory}/snapshot/layers`).length).toBe(2); // and the empty one
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
  });

  test("of one layer many times at once does the work once", async () => {
    const { store, directory } = await openNew();
    const { path, diffId } = await tarOf([file("a"), file("b")]);
    const found = await Promise.all(
      Array.from({ length: 8 }, () => store.unpack(path, { diffId })),
    );
    expect(new Set(found.map((layer) => layer.diffId)).size).toBe(1);
    expect(readdirSync(`${directory}/snapshot/layers`).length).toBe(2);
  });

  test("refuses bytes that hash to another DiffID, and leaves nothing", async () => {
    const { store, directory } = await openNew();
    const { path } = await tarOf([file("a")]);
    const wrong = store.unpack(path, { diffId: digestOf("other") });
    await expect(wrong).rejects.toMatchObject({ name: "Failure", code: "corrupt" });
    const cut = `${base}/cut.tar`;
    writeFileSync(cut, readFileSync(path).subarray(0, 700));
    await expect(store.unpack(cut, {})).rejects.toMatchObject({ code: "corrupt" });
    expect(store.layers()).toEqual([]);
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
  });

  test('on a full disk is "exhausted" and leaves nothing', async () => {
    const directory = `${base}/full`;
    mkdirSync(directory);
    mountNow({ type: "tmpfs", source: "tmpfs", target: directory, data: "size=4m" });
    const { store, database } = await openIn(directory);
    const { path } = await tarOf([{ header: { path: "big" }, body: Buffer.alloc(8 << 20) }]);
    await expect(store.unpack(path, {})).rejects.toMatchObject({ code: "exhausted" });
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
    expect(store.layers()).toEqual([]);
    database.close();
    unmountNow(directory, { detach: true });
  });
});

describe("a snapshot", () => {
  let open: Open;
  let lower: Digest;
  let upper: Digest;
  beforeAll(async () => {
    open = await openNew();
    lower = await layerOf(open.store, [
      entry({ path: ".", type: "directory", mode: 0o711, uid: 9 }),
      folder("etc"),
      file("etc/hosts", "low"),
      file("etc/passwd", "low"),
      folder("old"),
      file("old/a"),
      folder("hidden"),
      file("hidden/a"),
    ]);
    upper = await layerOf(open.store, [
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
    await store.unmount("one");
    await store.unmount("one");
    expect(existsSync(`${root}/etc`)).toBe(false);
    expect(read(`${await store.mount("one")}/etc/hosts`)).toBe("mine");
    await store.remove("one");
    await store.remove("one");
    expect([store.has("one"), store.keys()]).toEqual([false, []]);
    expect(mounts().filter((target) => target.startsWith(open.directory))).toEqual([]);
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
      layers.push(await layerOf(store, [file("top", `${at}`), file(`f${at}`, "")]));
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
    const { store, database } = await openIn(`${base}/odd, name:with\\signs`);
    const layers = [await layerOf(store, [file("a")]), await layerOf(store, [file("b")])];
    await store.prepare("odd", layers);
    expect(readdirSync(await store.mount("odd")).sort()).toEqual(["a", "b"]);
    await store.remove("odd");
    database.close();
  });
});

describe("changes()", () => {
  let store: SnapshotStore;
  let root: string;
  beforeAll(async () => {
    ({ store } = await openNew());
    const low = await layerOf(store, [
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
    const high = await layerOf(store, [folder("opt"), file("opt/tool")]);
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

describe("commit()", () => {
  const low = [folder("etc"), file("etc/keep"), file("etc/gone"), folder("all"), file("all/x")];

  /** A writable layer with one of each. */
  function change(root: string): void {
    rmSync(`${root}/etc/gone`);
    rmSync(`${root}/all`, { recursive: true });
    mkdirSync(`${root}/all`);
    writeFileSync(`${root}/all/new`, "new");
    writeFileSync(`${root}/su`, "su");
    chownSync(`${root}/su`, 1000, 1001);
    chmodSync(`${root}/su`, 0o6755);
    linkSync(`${root}/su`, `${root}/zhard`);
    symlinkSync("su", `${root}/soft`);
    Bun.spawnSync(["mkfifo", `${root}/pipe`]);
    writeFileSync(`${root}/sparse`, "");
    truncateSync(`${root}/sparse`, 3 << 20);
    utimesSync(`${root}/su`, 1_600_000_000.5, 1_600_000_000.5);
  }

  for (const how of ["move", "copy"] as const) {
    test(`by ${how} makes a layer whose tar is the same now, later and unpacked elsewhere`, async () => {
      const { store, directory } = await openNew();
      const parent = await layerOf(store, low);
      await store.prepare("c", [parent]);
      change(await store.mount("c"));
      const layer = await store.commit("c", { how });
      expect(layer.origin).toBe("snapshot");
      expect(layer.sizeBytes).toBe("new".length + "su".length + (3 << 20));
      expect(store.has("c")).toBe(how === "copy");
      const tar = Buffer.concat(await Array.fromAsync(store.layerTar(layer.diffId)));
      expect(digestOf(tar)).toBe(layer.diffId);
      expect(await hashOf(store.layerTar(layer.diffId))).toBe(layer.diffId);

      const { store: other } = await openNew();
      writeFileSync(`${base}/moved.tar`, tar);
      await layerOf(other, low);
      await other.unpack(`${base}/moved.tar`, { diffId: layer.diffId });
      await other.prepare("again", [parent, layer.diffId]);
      await store.prepare("again", [parent, layer.diffId]);
      for (const each of [store, other]) {
        const root = await each.mount("again");
        expect(readdirSync(root).sort()).toEqual([
          "all",
          "etc",
          "pipe",
          "soft",
          "sparse",
          "su",
          "zhard",
        ]);
        expect([readdirSync(`${root}/all`), readdirSync(`${root}/etc`)]).toEqual([
          ["new"],
          ["keep"],
        ]);
        const { mode, uid, gid, mtimeMs, nlink } = statSync(`${root}/su`);
        expect([mode & 0o7777, uid, gid, Math.floor(mtimeMs / 1000), nlink]).toEqual([
          0o6755, 1000, 1001, 1_600_000_000, 2,
        ]);
        expect(lstatSync(`${root}/pipe`).isFIFO()).toBe(true);
        await each.remove("again");
      }
      await store.remove("c");
      expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
    });
  }

  test("by copy keeps holes, and the snapshot goes on apart from its layer", async () => {
    const { store, directory } = await openNew();
    await store.prepare("c", []);
    const root = await store.mount("c");
    change1(root);
    const layer = await store.commit("c", { how: "copy" });
    writeFileSync(`${root}/a`, "changed later");
    expect(await hashOf(store.layerTar(layer.diffId))).toBe(layer.diffId);
    const [name] = readdirSync(`${directory}/snapshot/layers`).filter((each) => each !== "_");
    const { size, blocks } = statSync(`${directory}/snapshot/layers/${name}/sparse`);
    expect([size, blocks * 512 < 1 << 20]).toEqual([8 << 20, true]);
    const next = await store.commit("c", { how: "copy" });
    expect(next.diffId).not.toBe(layer.diffId);
    await store.remove("c");
  });
  function change1(root: string): void {
    writeFileSync(`${root}/a`, "a");
    writeFileSync(`${root}/sparse`, "x");
    truncateSync(`${root}/sparse`, 8 << 20);
  }

  test("gives the same layer for the same files, and clamps times to timeMax for good", async () => {
    const { store, directory, database } = await openNew();
    const digests: string[] = [];
    for (const key of ["one", "two"]) {
      await store.prepare(key, [], { volatile: true });
      const root = await store.mount(key);
      mkdirSync(`${root}/d`);
      writeFileSync(`${root}/d/f`, "f");
      utimesSync(`${root}/d/f`, 2_000_000_000, key === "one" ? 1_900_000_000 : 1_999_999_999);
      digests.push((await store.commit(key, { how: "move", timeMax: 1_700_000_000 })).diffId);
    }
    expect(digests[0]).toBe(digests[1]!);
    expect(store.layers().length).toBe(1);
    database.close();
    const again = await openIn(directory);
    expect(await hashOf(again.store.layerTar(digests[0] as Digest))).toBe(digests[0]!);
  });

  test("leaves out what the runtime made to mount on, and keeps a changed root", async () => {
    const { store } = await openNew();
    const parent = await layerOf(store, [folder("etc")]);
    for (const how of ["copy", "move"] as const) {
      await store.prepare("c", [parent]);
      const root = await store.mount("c");
      chmodSync(root, 0o700);
      writeFileSync(`${root}/etc/hosts`, "");
      mkdirSync(`${root}/proc`);
      writeFileSync(`${root}/kept`, "");
      const layer = await store.commit("c", {
        how,
        mountPoints: ["/proc", "/etc/hosts", "/kept/not"],
      });
      const path = `${base}/stubs.tar`;
      writeFileSync(path, Buffer.concat(await Array.fromAsync(store.layerTar(layer.diffId))));
      expect(Bun.spawnSync(["tar", "tf", path]).stdout.toString()).toBe("./\nkept\n");
      await store.remove("c");
      await store.prepare("on", [parent, layer.diffId]);
      expect(statSync(await store.mount("on")).mode & 0o7777).toBe(0o700);
      await store.remove("on");
      await store.removeLayer(layer.diffId);
    }
  });

  test("refuses a name that would mean a deletion, and changes nothing", async () => {
    const { store, directory } = await openNew();
    await store.prepare("c", []);
    writeFileSync(`${await store.mount("c")}/.wh.x`, "");
    await expect(store.commit("c", { how: "copy" })).rejects.toMatchObject({ code: "invalid" });
    expect([store.layers(), store.has("c")]).toEqual([[], true]);
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
    await store.remove("c");
  });

  test("of nothing makes the empty layer", async () => {
    const { store } = await openNew();
    await store.prepare("c", []);
    const layer = await store.commit("c", { how: "move" });
    expect(layer).toMatchObject({ sizeBytes: 0, diffId: digestOf(Buffer.alloc(1024)) });
  });
});

describe("openSnapshotStore() and reconcile()", () => {
  test("take over what is mounted, and remove what a crash left", async () => {
    const { store, directory, database } = await openNew();
    const layer = await layerOf(store, [file("a")]);
    await store.prepare("kept", [layer]);
    const root = await store.mount("kept");
    await store.prepare("stale", [layer]);
    await store.mount("stale");
    const snapshots = `${directory}/snapshot`;
    mkdirSync(`${snapshots}/ingest/half`);
    mkdirSync(`${snapshots}/layers/zz`);
    mkdirSync(`${snapshots}/snapshots/zy/files`, { recursive: true });
    database.close();

    const next = await openIn(directory);
    const done = await next.store.reconcile(new Set(["kept"]));
    expect(done.length).toBe(4);
    expect(next.store.keys()).toEqual(["kept"]);
    expect(mounts().filter((target) => target.startsWith(directory))).toEqual([root]);
    expect(readdirSync(`${snapshots}/layers`).length).toBe(2);
    expect(readdirSync(`${snapshots}/snapshots`).length).toBe(1);
    expect(await next.store.mount("kept")).toBe(root);
    expect(await next.store.reconcile(new Set(["kept"]))).toEqual([]);
    await next.store.prepare("new", [layer]); // its number is none of those that were there
    await next.store.remove("new");
    await next.store.remove("kept");
    expect(mounts().filter((target) => target.startsWith(directory))).toEqual([]);
    await next.store.removeLayer(layer);
  });

  test("drop a layer that another boot did not see synced, unless something stands on it", async () => {
    const { store, directory, database } = await openNew();
    const lost = await layerOf(store, [file("lost")]);
    const used = await layerOf(store, [file("used")]);
    await store.prepare("user", [used]);
    database.run("UPDATE snapshot_layers SET boot = 'an earlier boot'");
    database.close();
    const next = await openIn(directory);
    const done = await next.store.reconcile(new Set(["user"]));
    expect(done.map((line) => line.split(" ")[0])).toEqual(["removed", "kept,"]);
    expect(next.store.layer(lost)).toBeUndefined();
    expect(next.store.layer(used)).toBeDefined();
    await next.store.remove("user");
  });
});

test("an archive's attributes never reach overlayfs", async () => {
  const { store } = await openNew();
  const evil = new Map([["trusted.overlay.opaque", Buffer.from("y")]]);
  const { path } = await tarOf([entry({ path: "d", type: "directory", xattrs: evil })]);
  await expect(store.unpack(path, {})).rejects.toMatchObject({ code: "invalid" });
  expect(getXattr("/", "trusted.overlay.opaque")).toBeUndefined();
});
