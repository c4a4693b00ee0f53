import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { gzip } from "../archive/mod.ts";
import { digestOf, hostPlatform, mediaTypes } from "../oci/mod.ts";
import type { Progress } from "./mod.ts";
import {
  blobOf,
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
  smallArchive,
} from "./test-stores.ts";

describe("load()", () => {
  test("takes what old Dockers saved, and tells names and progress", async () => {
    using stores = await openStores();
    const { archive, config, layers } = await smallArchive();
    const told: { id: string }[] = [];
    const path = await stores.file(archive);
    const report = (progress: Progress) => told.push({ id: "", ...progress });
    const loaded = await stores.images.load(path, { report });
    expect(loaded.map(({ image, tags }) => [image.id, tags])).toEqual([
      [digestOf(config), ["app:1", "host:5000/app:2"]],
    ]);
    const sizes = layers.map(({ length }) => ({ current: length, total: length }));
    const byId = (one: { id: string }, other: { id: string }) => (one.id < other.id ? -1 : 1);
    expect(told.sort(byId)).toEqual(
      layers
        .map((layer, at) => ({
          status: "Loading layer",
          id: digestOf(layer).slice(7, 19),
          progress: sizes[at],
        }))
        .sort(byId),
    );
    expect(loaded[0]!.image.sizeBytes).toBe(6);
    expect(stores.images.resolve("app:1").config.rootfs.diff_ids).toEqual(layers.map(digestOf));
  });

  test("unpacks the layers so that a container can stand on them", async () => {
    using stores = await openStores();
    const { archive } = await smallArchive();
    const [loaded] = await stores.load(archive);
    await stores.snapshots.prepare("c", loaded!.image.config.rootfs.diff_ids);
    const root = await stores.snapshots.mount("c");
    try {
      expect(await Bun.file(`${root}/two`).text()).toBe("two");
    } finally {
      await stores.snapshots.remove("c");
    }
  });

  test("gives a layer's bytes back while it takes them, of an archive that is spent alone", async () => {
    using stores = await openStores();
    const layer = await layerOf("big", Buffer.alloc(10 << 20, "x").toString());
    const config = configOf([layer]);
    const archive = await dockerArchive(
      [{ config, layers: ["layer.tar"], tags: null }],
      [fileEntry("layer.tar", layer)],
    );
    const [kept, spent] = [await stores.file(archive), await stores.file(archive)];
    const [first] = await stores.images.load(kept, { report: () => {} });
    expect(Buffer.compare(readFileSync(kept), archive)).toBe(0);
    const { id } = first!.image;
    await stores.images.remove(id, { force: true, noPrune: false, users: () => [] });
    expect((await stores.state()).layers).toEqual([]);
    const [loaded] = await stores.images.load(spent, { report: () => {}, isSpent: true });
    expect(loaded!.image.id).toBe(id);
    const left = readFileSync(spent);
    expect(left.length).toBe(archive.length);
    expect(left.subarray(4 << 20, 8 << 20).every((byte) => byte === 0)).toBe(true);
  });

  test("follows links between layers inside the archive", async () => {
    using stores = await openStores();
    const layer = await layerOf("one");
    const config = configOf([layer, layer, layer]);
    const archive = await dockerArchive(
      [{ config, layers: ["a/layer.tar", "b/layer.tar", "c/layer.tar"], tags: null }],
      [
        fileEntry("a/layer.tar", layer),
        { header: { path: "b/layer.tar", type: "symlink", linkPath: "../a/layer.tar" } },
        { header: { path: "c/layer.tar", type: "link", linkPath: "b/layer.tar" } },
      ],
    );
    const [loaded] = await stores.load(archive);
    expect(loaded!.tags).toEqual([]);
    expect((await stores.state()).layers).toEqual([digestOf(layer)]);
  });

  test.each(["gzip", "zstd", "bzip2", "xz"])("takes an archive in %s", async (how) => {
    using stores = await openStores();
    const { archive, config } = await smallArchive();
    const packed =
      how === "gzip"
        ? await bytesOf(gzip(chunksOf(archive)))
        : how === "zstd"
          ? Bun.zstdCompressSync(archive)
          : Bun.spawnSync([how, "-c"], { stdin: archive }).stdout;
    const [loaded] = await stores.load(packed);
    expect(loaded!.image.id).toBe(digestOf(config));
  });

  test.each(["gzip", "xz"])("takes layers in %s", async (how) => {
    using stores = await openStores();
    const layer = await layerOf("one");
    const packed =
      how === "gzip"
        ? await bytesOf(gzip(chunksOf(layer)))
        : Bun.spawnSync(["xz", "-c"], { stdin: layer }).stdout;
    const archive = await dockerArchive(
      [{ config: configOf([layer]), layers: ["l"], tags: ["app"] }],
      [fileEntry("l", packed)],
    );
    await stores.load(archive);
    const kept = how === "gzip" ? digestOf(packed) : digestOf(layer);
    expect((await stores.state()).blobs).toEqual([kept]);
    const saved = await bytesOf(stores.images.save(["app"]));
    using other = await openStores();
    const [again] = await other.load(saved);
    expect(again!.image.id).toBe(stores.images.resolve("app").id);
  });

  test("keeps manifest and compressed layers of a layout as they came", async () => {
    using stores = await openStores();
    const blobs = await imageBlobs([await layerOf("one")], { gzip: true });
    const manifest = blobs[0]!.descriptor;
    const layout = await layoutOf([named(manifest, "docker.io/library/app:1")], blobs);
    const [loaded] = await stores.load(layout);
    expect(loaded!.image.manifest).toEqual(manifest);
    expect(loaded!.tags).toEqual(["app:1"]);
    expect((await stores.state()).blobs).toEqual([blobs[2]!.descriptor.digest]);
  });

  test("takes several images with several names", async () => {
    using stores = await openStores();
    const one = await imageBlobs([await layerOf("one")]);
    const two = await imageBlobs([await layerOf("one"), await layerOf("two")]);
    const layout = await layoutOf(
      [
        named(one[0]!.descriptor, "docker.io/library/one:1"),
        named(one[0]!.descriptor, "docker.io/library/one:2"),
        named(two[0]!.descriptor, "example.com/two:1"),
      ],
      [...one, ...two],
    );
    const loaded = await stores.load(layout);
    expect(loaded.map(({ tags }) => tags)).toEqual([["one:1", "one:2"], ["example.com/two:1"]]);
  });

  test("moves a name, says so, and the other image stays without one", async () => {
    using stores = await openStores();
    const archives = await Promise.all(
      ["one", "two"].map(async (name) => {
        const blobs = await imageBlobs([await layerOf(name)]);
        return await layoutOf([named(blobs[0]!.descriptor, "docker.io/library/app:1")], blobs);
      }),
    );
    const [first] = await stores.load(archives[0]!);
    const told: unknown[] = [];
    const path = await stores.file(archives[1]!);
    await stores.images.load(path, { report: ({ stream }) => stream && told.push(stream) });
    expect(told).toEqual([
      `The image app:1 already exists, renaming the old one with ID ${first!.image.id} to empty string\n`,
    ]);
    expect(stores.images.resolve(first!.image.id).tags).toEqual([]);
    expect(stores.images.resolve("app:1").id).not.toBe(first!.image.id);
  });

  test("twice at once gives one image", async () => {
    using stores = await openStores();
    const { archive, config, layers } = await smallArchive();
    const loads = await Promise.all([1, 2, 3].map(() => stores.load(archive)));
    expect(new Set(loads.flat().map(({ image }) => image.id)).size).toBe(1);
    expect(await stores.state()).toEqual({
      images: [{ id: digestOf(config), tags: ["app:1", "host:5000/app:2"] }],
      layers: expect.arrayContaining(layers.map(digestOf)),
      blobs: layers.map(digestOf).sort(),
    });
  });
});

describe("load() of several platforms", () => {
  const host = hostPlatform();
  const other = { os: "linux", architecture: host.architecture === "s390x" ? "arm64" : "s390x" };

  async function twoPlatforms() {
    const mine = await imageBlobs([await layerOf("mine")]);
    const foreign = await imageBlobs([await layerOf("foreign")], { config: other });
    const attestation = await imageBlobs([await layerOf("sbom")]);
    const manifests = [
      { ...foreign[0]!.descriptor, platform: other },
      { ...mine[0]!.descriptor, platform: host },
      { ...attestation[0]!.descriptor, platform: { os: "unknown", architecture: "unknown" } },
    ];
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
    const nested = blobOf(mediaTypes.ociIndex, Buffer.from(JSON.stringify(index)));
    const id = (blobs: typeof mine) => blobs[1]!.descriptor.digest;
    return { mine, foreign, attestation, nested, manifests, id };
  }

  test("takes the host's out of a nested index, or the one that is asked for", async () => {
    const { mine, foreign, attestation, nested, id } = await twoPlatforms();
    const all = [...mine, ...foreign, ...attestation, nested];
    const layout = await layoutOf([named(nested.descriptor, "docker.io/library/app:1")], all);
    using stores = await openStores();
    const [loaded] = await stores.load(layout);
    expect([loaded!.image.id, loaded!.tags]).toEqual([id(mine), ["app:1"]]);
    const [asked] = await stores.load(layout, other);
    expect([asked!.image.id, asked!.tags]).toEqual([id(foreign), ["app:1"]]);
    const absent = stores.load(layout, { os: "linux", architecture: "riscv64" });
    await expect(absent).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("linux/riscv64"),
    });
  });

  test("takes the host's out of a flat index", async () => {
    const { mine, foreign, manifests, id } = await twoPlatforms();
    using stores = await openStores();
    const loaded = await stores.load(await layoutOf(manifests, [...mine, ...foreign]));
    expect(loaded.map(({ image }) => image.id)).toEqual([id(mine)]);
  });

  test("passes over platforms whose blobs are not in the archive", async () => {
    const { foreign, nested, id } = await twoPlatforms();
    using stores = await openStores();
    const loaded = await stores.load(await layoutOf([nested.descriptor], [...foreign, nested]));
    expect(loaded.map(({ image }) => image.id)).toEqual([id(foreign)]);
  });
});
