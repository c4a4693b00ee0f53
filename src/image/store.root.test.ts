import { describe, expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { gzip } from "../archive/mod.ts";
import { type Digest, digestOf, hostPlatform, mediaTypes } from "../oci/mod.ts";
import {
  bytesOf,
  chunksOf,
  configOf,
  dockerArchive,
  fileEntry,
  imageBlobs,
  layerOf,
  layoutOf,
  named,
  openStores,
} from "./test-stores.ts";

const free = { force: false, noPrune: false, users: () => [] };
const importOptions = { changes: {}, message: "", platform: hostPlatform() };

/** A layer made here, which has no file: a container's change. */
async function makeLayer(
  stores: Awaited<ReturnType<typeof openStores>>,
  { key, parents }: { key: string; parents: readonly Digest[] },
): Promise<Digest> {
  await stores.snapshots.prepare(key, parents);
  const root = await stores.snapshots.mount(key);
  writeFileSync(`${root}/${key}`, key);
  symlinkSync("nowhere", `${root}/${key}-link`);
  const { diffId } = await stores.snapshots.commit(key, { how: "copy" });
  await stores.snapshots.remove(key);
  return diffId;
}

describe("save()", () => {
  test("then load() and save() in another store gives the same bytes", async () => {
    using stores = await openStores();
    const { images } = stores;
    const layer = await layerOf("base");
    const base = await images.import(await stores.file(layer), {
      ...importOptions,
      reference: "base",
    });
    const made = await makeLayer(stores, { key: "made", parents: base.config.rootfs.diff_ids });
    const commit = { author: "", comment: "", createdBy: "x", config: { Cmd: ["x"] } };
    await images.commit({ ...commit, parent: base, layer: made, reference: "team/app:1" });
    images.tag(images.resolve("team/app:1").id, "host:5000/app:2");
    const names = ["base", "team/app:1", "host:5000/app:2"];
    const saved = await bytesOf(images.save(names));
    expect(digestOf(await bytesOf(images.save(names)))).toBe(digestOf(saved));
    using other = await openStores();
    const loaded = await other.load(saved);
    expect(loaded.map(({ tags }) => tags)).toEqual([
      ["base:latest"],
      ["host:5000/app:2", "team/app:1"],
    ]);
    for (const name of names) expect(other.images.resolve(name).id).toBe(images.resolve(name).id);
    expect(digestOf(await bytesOf(other.images.save(names)))).toBe(digestOf(saved));
  });

  test("writes what other tools read", async () => {
    using stores = await openStores();
    const image = await stores.images.import(await stores.file(await layerOf("f")), {
      ...importOptions,
      reference: "app:1",
    });
    const path = await stores.file(await bytesOf(stores.images.save(["app:1"])));
    const names = Bun.spawnSync(["tar", "tf", path]).stdout.toString().trim().split("\n");
    const hex = (digest: Digest) => `blobs/sha256/${digest.slice(7)}`;
    const [diffId] = image.config.rootfs.diff_ids;
    expect(names).toContain(hex(image.id));
    expect(names).toContain(hex(diffId!));
    const read = (name: string) =>
      JSON.parse(Bun.spawnSync(["tar", "xOf", path, name]).stdout.toString());
    expect(read("manifest.json")).toEqual([
      {
        Config: hex(image.id),
        RepoTags: ["app:1"],
        Layers: [hex(diffId!)],
        LayerSources: { [diffId!]: { mediaType: mediaTypes.ociLayer, digest: diffId, size: 2048 } },
      },
    ]);
    expect(read("index.json").manifests[0].annotations).toEqual({
      "io.containerd.image.name": "docker.io/library/app:1",
      "org.opencontainers.image.ref.name": "1",
    });
    expect(read("oci-layout")).toEqual({ imageLayoutVersion: "1.0.0" });
    expect(read("repositories")).toEqual({ app: { "1": diffId!.slice(7) } });
  });

  test("keeps manifest and compressed layers as they came", async () => {
    using stores = await openStores();
    const blobs = await imageBlobs([await layerOf("one")], { gzip: true });
    const manifest = named(blobs[0]!.descriptor, "docker.io/library/app:1");
    await stores.load(await layoutOf([manifest], blobs));
    const saved = await bytesOf(stores.images.save(["app:1"]));
    for (const { bytes } of blobs) expect(saved.includes(bytes)).toBe(true);
    using other = await openStores();
    const [again] = await other.load(saved);
    expect(again!.image.manifest?.digest).toBe(blobs[0]!.descriptor.digest);
  });

  test("takes all tags of a repository, and an ID without names", async () => {
    using stores = await openStores();
    const { images } = stores;
    const image = await images.import(await stores.file(await layerOf("f")), {
      ...importOptions,
      reference: "app:1",
    });
    images.tag(image.id, "app:2");
    const list = async (names: string[]) => {
      const path = await stores.file(await bytesOf(images.save(names)));
      const text = Bun.spawnSync(["tar", "xOf", path, "manifest.json"]).stdout.toString();
      return (JSON.parse(text) as { RepoTags: unknown }[]).map(({ RepoTags }) => RepoTags);
    };
    expect(await list(["app"])).toEqual([["app:1", "app:2"]]);
    expect(await list(["app:2"])).toEqual([["app:2"]]);
    expect(await list([image.id, image.id.slice(7, 19)])).toEqual([null]);
    await expect(list(["nope"])).rejects.toThrow("No such image: nope:latest");
    const platform = { os: "linux", architecture: "riscv64" };
    const save = bytesOf(images.save(["app:1"], { platform }));
    await expect(save).rejects.toThrow("does not provide the specified platform (linux/riscv64)");
  });

  test("goes on while the image is removed", async () => {
    using stores = await openStores();
    const { images } = stores;
    const big = await layerOf("big", "x".repeat(3 << 20));
    await images.import(await stores.file(big), { ...importOptions, reference: "app" });
    const whole = digestOf(await bytesOf(images.save(["app"])));
    const parts: Uint8Array[] = [];
    for await (const part of images.save(["app"])) {
      if (parts.push(part) === 1) await images.remove("app", free);
    }
    expect(digestOf(Buffer.concat(parts))).toBe(whole);
    expect(await stores.state()).toEqual({ images: [], layers: [], blobs: [] });
  });
});

describe("import()", () => {
  test("makes an image of one layer, plain or compressed", async () => {
    using stores = await openStores();
    const layer = await layerOf("etc/os-release");
    const image = await stores.images.import(await stores.file(layer), {
      changes: { Cmd: ["sh"] },
      message: "from elsewhere",
      platform: { os: "linux", architecture: "arm64" },
      reference: "os",
    });
    expect(image.tags).toEqual(["os:latest"]);
    expect(image.config).toMatchObject({
      architecture: "arm64",
      config: { Cmd: ["sh"] },
      rootfs: { diff_ids: [digestOf(layer)] },
      history: [{ comment: "from elsewhere" }],
    });
    const packed = await bytesOf(gzip(chunksOf(layer)));
    const again = await stores.images.import(await stores.file(packed), importOptions);
    expect(again.config.rootfs).toEqual(image.config.rootfs);
    expect(again.tags).toEqual([]);
  });

  test.each([
    ["noise", Buffer.alloc(4096, "x")],
    ["a cut gzip", Bun.gzipSync(Buffer.alloc(100_000)).subarray(0, 50)],
  ])("of %s fails and leaves nothing", async (_, bytes) => {
    using stores = await openStores();
    const load = stores.images.import(await stores.file(bytes), importOptions);
    await expect(load).rejects.toMatchObject({ name: "Failure", code: "corrupt" });
    expect(await stores.state()).toEqual({ images: [], layers: [], blobs: [] });
  });
});

describe("commit(), add() and history()", () => {
  test("tell steps with sizes, newest first", async () => {
    using stores = await openStores();
    const { images } = stores;
    const layers = [await layerOf("one"), await layerOf("three")];
    const history = [
      { created_by: "a" },
      { created_by: "b", empty_layer: true },
      { created_by: "c" },
    ];
    const archive = await dockerArchive(
      [{ config: configOf(layers, { history }), layers: ["0", "1"], tags: ["base:1"] }],
      [fileEntry("0", layers[0]!), fileEntry("1", layers[1]!)],
    );
    const base = (await stores.load(archive))[0]!.image;
    const layer = await makeLayer(stores, { key: "made", parents: base.config.rootfs.diff_ids });
    const child = await images.commit({
      parent: base,
      layer,
      config: {},
      author: "me",
      comment: "note",
      createdBy: "sh",
      reference: "child",
    });
    expect(child.parent).toBe(base.id);
    expect(child.config.author).toBe("me");
    const rows = images.history(child.id);
    expect(rows.map(({ id, sizeBytes, tags }) => [id, sizeBytes, tags])).toEqual([
      [child.id, 4, ["child:latest"]],
      [base.id, 5, ["base:1"]],
      [undefined, 0, []],
      [undefined, 3, []],
    ]);
    expect(rows[0]!.entry).toMatchObject({ created_by: "sh", author: "me", comment: "note" });
  });

  test("add() is idempotent, and refuses layers that are not here", async () => {
    using stores = await openStores();
    const { diffId } = await stores.snapshots.unpack(await stores.file(await layerOf("x")), {});
    const config = {
      ...hostPlatform(),
      rootfs: { type: "layers" as const, diff_ids: [diffId] },
    };
    const one = await stores.images.add(config, { tags: ["a"] });
    const two = await stores.images.add(config, { tags: ["b:2"] });
    expect(two.id).toBe(one.id);
    expect(two.tags).toEqual(["a:latest", "b:2"]);
    const rootfs = { type: "layers" as const, diff_ids: [digestOf("absent")] };
    await expect(stores.images.add({ ...config, rootfs })).rejects.toMatchObject({
      code: "not_found",
    });
  });
});

test("a config that could not be read back is refused before it is stored", async () => {
  using stores = await openStores();
  const { diffId } = await stores.snapshots.unpack(await stores.file(await layerOf("x")), {});
  const rootfs = { type: "layers" as const, diff_ids: [diffId] };
  const config: object = { Labels: { a: 1 } };
  await expect(stores.images.add({ ...hostPlatform(), rootfs, config })).rejects.toThrow(
    "Labels.a",
  );
  expect((await stores.reopen()).list()).toEqual([]);
});

describe("names", () => {
  async function withImage() {
    const stores = await openStores();
    const path = await stores.file(await layerOf("f"));
    const image = await stores.images.import(path, { ...importOptions, reference: "app" });
    return { stores, image };
  }

  test("resolve() takes names, IDs and their beginnings", async () => {
    const { stores, image } = await withImage();
    using _stores = stores;
    const texts = [
      "app",
      "app:latest",
      "docker.io/library/app",
      image.id,
      image.id.slice(7),
      image.id.slice(0, 12),
      image.id.slice(7, 11),
    ];
    for (const text of texts) expect(stores.images.resolve(text).id).toBe(image.id);
    expect(stores.images.find("other")).toBeUndefined();
    expect(stores.images.find("not a name")).toBeUndefined();
    expect(() => stores.images.resolve("other:x")).toThrow("No such image: other:x");
    expect(() => stores.images.resolve("Other")).toThrow("must be lowercase");
    const absent = digestOf("absent");
    expect(() => stores.images.resolve(absent)).toThrow(`No such image: ${absent}`);
  });

  test("tag() refuses digests and what would be taken for an ID", async () => {
    const { stores, image } = await withImage();
    using _stores = stores;
    const tag = (name: string) => stores.images.tag(image.id, name);
    expect(() => tag(`app@${image.id}`)).toThrow(
      "refusing to create a tag with a digest reference",
    );
    expect(() => tag("sha256:abc")).toThrow("using digest algorithm as name");
    expect(() => tag("a b")).toThrow("invalid reference format");
    expect(() => stores.images.tag(digestOf("absent"), "x")).toThrow("No such image");
  });

  test("survive a restart; changes are told to listeners", async () => {
    const { stores, image } = await withImage();
    using _stores = stores;
    const told: string[] = [];
    stores.images.onEvent((action, id, name) => told.push(`${action} ${id === image.id} ${name}`));
    stores.images.onEvent(() => {
      throw new Error("a listener that fails harms nobody");
    });
    stores.images.tag(image.id, "other:1");
    const reopened = await stores.reopen();
    expect(reopened.list()).toEqual(stores.images.list());
    expect(reopened.resolve("other:1").tags).toEqual(["app:latest", "other:1"]);
    await stores.images.remove("app", free);
    await stores.images.remove("other:1", free);
    expect(told).toEqual([
      "tag true other:1",
      `untag true ${image.id}`,
      `untag true ${image.id}`,
      `delete true ${image.id}`,
    ]);
    expect((await stores.reopen()).list()).toEqual([]);
  });
});
