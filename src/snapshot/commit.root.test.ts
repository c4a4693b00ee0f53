import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { type Digest, digestOf } from "../oci/mod.ts";
import { Fixture, file, folder, hashOf } from "./fixture.ts";

const fixture = new Fixture();

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
      const { store, directory } = await fixture.openNew();
      const parent = await fixture.layerOf(store, low);
      await store.prepare("c", [parent]);
      change(await store.mount("c"));
      const layer = await store.commit("c", { how });
      expect(layer.origin).toBe("snapshot");
      expect(layer.sizeBytes).toBe("new".length + "su".length + (3 << 20));
      expect(store.has("c")).toBe(how === "copy");
      const tar = Buffer.concat(await Array.fromAsync(store.layerTar(layer.diffId)));
      expect(digestOf(tar)).toBe(layer.diffId);
      expect(await hashOf(store.layerTar(layer.diffId))).toBe(layer.diffId);

      const { store: other } = await fixture.openNew();
      writeFileSync(`${fixture.base}/moved.tar`, tar);
      await fixture.layerOf(other, low);
      await other.unpack(`${fixture.base}/moved.tar`, { diffId: layer.diffId });
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
    const { store, directory } = await fixture.openNew();
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
    const { store, directory, database } = await fixture.openNew();
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
    const again = await fixture.openIn(directory);
    expect(await hashOf(again.store.layerTar(digests[0] as Digest))).toBe(digests[0]!);
  });

  test("leaves out what the runtime made to mount on, and keeps a changed root", async () => {
    const { store } = await fixture.openNew();
    const parent = await fixture.layerOf(store, [folder("etc")]);
    for (const how of ["copy", "move"] as const) {
      await store.prepare("c", [parent]);
      const root = await store.mount("c");
      chmodSync(root, 0o700);
      writeFileSync(`${root}/etc/hosts`, "");
      symlinkSync("/proc/mounts", `${root}/etc/mtab`);
      mkdirSync(`${root}/proc`);
      writeFileSync(`${root}/kept`, "");
      const layer = await store.commit("c", {
        how,
        mountPoints: ["/proc", "/etc/hosts", "/etc/mtab", "/kept/not"],
      });
      const path = `${fixture.base}/stubs.tar`;
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
    const { store, directory } = await fixture.openNew();
    await store.prepare("c", []);
    writeFileSync(`${await store.mount("c")}/.wh.x`, "");
    await expect(store.commit("c", { how: "copy" })).rejects.toMatchObject({ code: "invalid" });
    expect([store.layers(), store.has("c")]).toEqual([[], true]);
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
    await store.remove("c");
  });

  test("of nothing makes the empty layer", async () => {
    const { store } = await fixture.openNew();
    await store.prepare("c", []);
    const layer = await store.commit("c", { how: "move" });
    expect(layer).toMatchObject({ sizeBytes: 0, diffId: digestOf(Buffer.alloc(1024)) });
  });
});
