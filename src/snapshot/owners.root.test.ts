import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { TarParser } from "../archive/mod.ts";
import type { Digest } from "../oci/mod.ts";
import {
  asRootOf,
  closeNamespace,
  createUserNamespace,
  getXattr,
  listMounts,
  type OwnerMap,
} from "../sys/mod.ts";
import { entry, Fixture, file, type Open } from "./fixture.ts";
import { packTar, unpackTar } from "./mod.ts";

const fixture = new Fixture();
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
const ids = (path: string) => {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
};

async function headersOf(tar: AsyncIterable<Uint8Array>) {
  const parser = new TarParser({});
  const found = new Map<string, { owner: string; xattrs: ReadonlyMap<string, Uint8Array> }>();
  for await (const part of tar) {
    for (const event of parser.push(part)) {
      if (event.kind !== "entry") continue;
      const { path, uid, gid, xattrs } = event.header;
      found.set(path, { owner: `${uid}:${gid}`, xattrs });
    }
  }
  return found;
}

describe("a snapshot mounted with the owners of a map", () => {
  let open: Open;
  let layer: Digest;
  let map: OwnerMap;
  const upper = (path: string) => `${open.directory}/snapshot/snapshots/${folder}/files/${path}`;
  let folder = "";
  let root = "";
  beforeAll(async () => {
    const range = { inside: 0, outside: 70_000, count: 1_000 };
    const plain = { uids: [range], gids: [range] };
    const { user, network } = await createUserNamespace(plain);
    closeNamespace(network);
    map = { ...plain, file: user };
    open = await fixture.openNew();
    layer = await fixture.layerOf(open.store, [
      entry({ path: "own", type: "directory", mode: 0o755, uid: 5, gid: 6 }),
      { header: { path: "own/file", uid: 5, gid: 6 }, body: Buffer.from("from the layer") },
      file("plain"),
    ]);
    await open.store.prepare("one", [layer]);
    root = await open.store.mount("one", map);
    folder = root.split("/").at(-1)!;
  });
  afterAll(() => closeSync(map.file));

  test("shows them, and keeps the image's on the disk", () => {
    expect(ids(`${root}/plain`)).toBe("70000:70000");
    expect(ids(`${root}/own/file`)).toBe("70005:70006");
    expect(() => writeFileSync(`${root}/mine`, "")).toThrow("EOVERFLOW");
    asRootOf(map, () => mkdirSync(`${root}/made`));
    asRootOf(map, () => writeFileSync(`${root}/own/file`, "copied up"));
    expect([ids(`${root}/made`), ids(upper("made"))]).toEqual(["70000:70000", "0:0"]);
    expect(ids(upper("own/file"))).toBe("5:6");
    expect(listMounts().some(({ target }) => target.endsWith("/_mapped"))).toBe(false);
  });

  test("is packed and unpacked as from inside", async () => {
    const tar = await Array.fromAsync(packTar(root, { owners: map }));
    const there = async function* () {
      yield* tar;
    };
    const packed = await headersOf(there());
    expect(packed.get("own/file")?.owner).toBe("5:6");
    expect(packed.get("plain")?.owner).toBe("0:0");
    await unpackTar(there(), root, { into: "again", owners: map });
    expect(ids(`${root}/again/own/file`)).toBe("70005:70006");
    expect(ids(upper("again/own/file"))).toBe("5:6");
    const big = await fixture.tarOf([
      { header: { path: "x", uid: 1_000 }, body: Buffer.from("x") },
    ]);
    await expect(unpackTar(big.path, root, { owners: map })).rejects.toThrow("has no user 1000:0");
    // The worker that did it makes files as before.
    await unpackTar(there(), fixture.base, { into: "plainly" });
    expect(ids(`${fixture.base}/plainly/plain`)).toBe("0:0");
  });

  test("has capabilities of files that are the same on the disk and in an archive", async () => {
    const xattrs = new Map([["security.capability", new Uint8Array(capability)]]);
    const tar = await fixture.tarOf([
      { header: { path: "plain", xattrs }, body: Buffer.from("x") },
    ]);
    await unpackTar(tar.path, root, { owners: map });
    expect(getXattr(`${root}/plain`, "security.capability")).toHaveLength(24);
    expect(getXattr(upper("plain"), "security.capability")).toEqual(capability);
    const packed = await headersOf(packTar(root, { owners: map }));
    const value = packed.get("plain")?.xattrs.get("security.capability");
    expect(Buffer.from(value ?? [])).toEqual(capability);
  });

  test("lets only the map's root come through to it", async () => {
    chmodSync(fixture.base, 0o711);
    await open.store.prepare("two", [layer]);
    const path = await open.store.mount("two", map);
    const look = (uid: number, gid: number, where = `${path}/plain`) => {
      const argv = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "test", "-e"];
      return Bun.spawnSync([...argv, where]).exitCode === 0;
    };
    expect([look(70_000, 70_000), look(70_000, 7), look(1_000, 1_000)]).toEqual([
      true,
      false,
      false,
    ]);
    // Its files on the disk, where what is setuid root is the host's root's, are out of reach.
    const files = path.replace("/roots/", "/snapshots/").concat("/files");
    expect([existsSync(files), look(70_000, 70_000, files)]).toEqual([true, false]);
    await open.store.remove("two");
  });

  test("is mounted anew where others are asked for, as it is where any will do", async () => {
    await open.store.mount("one", map);
    expect(ids(`${root}/plain`)).toBe("70000:70000");
    const plain = await open.store.mount("one");
    expect([plain, existsSync(root)]).toEqual([
      root.replace("/roots/", "/snapshots/").concat("/root"),
      false,
    ]);
    expect(ids(`${plain}/plain`)).toBe("0:0");
    expect(await open.store.mount("one", "any")).toBe(plain);
    expect(await open.store.mount("one", map)).toBe(root);
    const later = await fixture.openIn(open.directory);
    // A daemon that comes later knows what a mount shows.
    expect(await later.store.mount("one", "any")).toBe(root);
    expect(await later.store.mount("one", map)).toBe(root);
    expect(readdirSync(`${open.directory}/snapshot/snapshots`)).not.toContain("_mapped");
    expect(await later.store.mount("one")).toBe(plain);
    expect(existsSync(root)).toBe(false);
    await later.store.remove("one");
  });
});
