import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { mediaTypes } from "../oci/mod.ts";
import { mountNow, unmountNow } from "../sys/mod.ts";
import {
  blobOf,
  configOf,
  dockerArchive,
  empty,
  fileEntry,
  imageBlobs,
  layerOf,
  layoutOf,
  openStores,
  smallArchive,
  tarOf,
} from "./test-stores.ts";

describe("load() refuses, and nothing is changed, for", () => {
  const layer = layerOf("one");
  const one = async (paths: string[], files: Parameters<typeof dockerArchive>[1]) =>
    dockerArchive([{ config: configOf([await layer]), layers: paths, tags: ["app"] }], files);
  const link = (path: string, linkPath: string) =>
    ({ header: { path, type: "symlink", linkPath } }) as const;

  test.each<[string, () => Promise<Uint8Array>, string, string]>([
    ["nothing", async () => Buffer.alloc(0), "invalid", "no image"],
    ["noise", async () => Buffer.alloc(5000, "x"), "corrupt", "Cannot read the archive"],
    ["a root filesystem", () => layer, "invalid", "neither manifest.json nor index.json"],
    [
      "a first format",
      () => tarOf([fileEntry("repositories", "{}")]),
      "unsupported",
      "first format",
    ],
    ["a missing layer", () => one(["l"], []), "not_found", 'Cannot find "l"'],
    [
      "a layer with other bytes",
      async () => one(["l"], [fileEntry("l", await layerOf("two"))]),
      "corrupt",
      "hashes to",
    ],
    [
      "a layer that is no tar",
      async () => one(["l"], [fileEntry("l", "x".repeat(2000))]),
      "corrupt",
      "",
    ],
    [
      "one layer too many",
      async () => one(["l", "l"], [fileEntry("l", await layer)]),
      "corrupt",
      "mismatch",
    ],
    ["a path that leads out", async () => one(["../../etc/passwd"], []), "invalid", "leads out"],
    ["an entry that leads out", async () => tarOf([fileEntry("../x", "")]), "invalid", "leads out"],
    [
      "a link that leads out",
      async () => one(["l"], [link("l", "../../../etc/passwd")]),
      "invalid",
      "leads out",
    ],
    ["a link to the host", async () => one(["l"], [link("l", "/etc/passwd")]), "not_found", ""],
    [
      "links in a circle",
      async () => one(["a"], [link("a", "b"), link("b", "a")]),
      "corrupt",
      "links",
    ],
    [
      "a wrong name",
      async () =>
        dockerArchive(
          [{ config: configOf([await layer]), layers: ["l"], tags: ["UPPER:x"] }],
          [fileEntry("l", await layer)],
        ),
      "invalid",
      "lowercase",
    ],
    [
      "another system's image",
      async () =>
        dockerArchive(
          [{ config: configOf([await layer], { os: "windows" }), layers: ["l"], tags: null }],
          [fileEntry("l", await layer)],
        ),
      "unsupported",
      "cannot load windows image on linux",
    ],
    [
      "a list that is no list",
      async () => tarOf([fileEntry("manifest.json", "{}")]),
      "corrupt",
      "not a list",
    ],
    [
      "a list that is no JSON",
      async () => tarOf([fileEntry("manifest.json", "[")]),
      "corrupt",
      "not JSON",
    ],
    [
      "a layout without its manifest",
      async () => layoutOf([(await imageBlobs([await layer]))[0]!.descriptor], []),
      "not_found",
      "Cannot find",
    ],
    [
      "a layout with a blob of other bytes",
      async () => {
        const blobs = await imageBlobs([await layer], { gzip: true });
        const last = blobs[2]!;
        const bytes = Buffer.from(last.bytes);
        bytes[9]! ^= 1; // a byte of gzip's header that says nothing: only the digest can tell
        return layoutOf([blobs[0]!.descriptor], [...blobs.slice(0, 2), { ...last, bytes }]);
      },
      "corrupt",
      "hash",
    ],
    [
      "an index in itself",
      async () => {
        const index = { schemaVersion: 2, manifests: [] };
        const blob = blobOf(mediaTypes.ociIndex, Buffer.from(JSON.stringify(index)));
        return layoutOf([blob.descriptor], [blob]);
      },
      "unsupported",
      "no image in it",
    ],
  ])("%s", async (_, archive, code, message) => {
    using stores = await openStores();
    await expect(stores.load(await archive())).rejects.toMatchObject({
      name: "Failure",
      code,
      message: expect.stringContaining(message),
    });
    expect(await stores.state()).toEqual(empty);
  });

  test("an archive that is cut anywhere", async () => {
    using stores = await openStores();
    const { archive } = await smallArchive();
    // The last blocks are the end mark, which Go's reader, too, does without.
    for (let at = 256; at < archive.length - 1536; at += 512 + 256) {
      await expect(stores.load(archive.subarray(0, at))).rejects.toMatchObject({ name: "Failure" });
    }
    expect(await stores.state()).toEqual(empty);
  });

  test("a broken second layer: the first goes again, but not one that an image has", async () => {
    using stores = await openStores();
    const shared = await layerOf("shared");
    const good = await imageBlobs([shared]);
    await stores.load(await layoutOf([good[0]!.descriptor], good));
    const before = await stores.state();
    const layers = [shared, await layerOf("new"), await layerOf("broken")];
    const archive = await dockerArchive(
      [{ config: configOf(layers), layers: ["0", "1", "2"], tags: ["app"] }],
      [
        fileEntry("0", layers[0]!),
        fileEntry("1", layers[1]!),
        fileEntry("2", layers[2]!.subarray(0, 700)),
      ],
    );
    await expect(stores.load(archive)).rejects.toMatchObject({ code: "corrupt" });
    expect(await stores.state()).toEqual(before);
  });

  test("a full disk", async () => {
    const directory = mkdtempSync("/tmp/lading-image-full-");
    mountNow({ type: "tmpfs", source: "tmpfs", target: directory, data: "size=8m" });
    try {
      using stores = await openStores(directory);
      const layers = [await layerOf("small"), await layerOf("big", "x".repeat(6 << 20))];
      using elsewhere = await openStores();
      const archive = await dockerArchive(
        [{ config: configOf(layers), layers: ["0", "1"], tags: ["app"] }],
        [fileEntry("0", layers[0]!), fileEntry("1", layers[1]!)],
      );
      const path = await elsewhere.file(archive);
      const load = stores.images.load(path, { report() {} });
      await expect(load).rejects.toMatchObject({ name: "Failure", code: "exhausted" });
      expect(await stores.state()).toEqual(empty);
      expect(readdirSync(`${directory}/content/ingest`)).toEqual([]);
    } finally {
      unmountNow(directory, { detach: true });
      rmSync(directory, { recursive: true });
    }
  });

  test("a client that went away", async () => {
    using stores = await openStores();
    const { archive } = await smallArchive();
    const signal = AbortSignal.abort();
    const load = stores.images.load(await stores.file(archive), { report() {}, signal });
    await expect(load).rejects.toMatchObject({ code: "unavailable" });
    expect(await stores.state()).toEqual(empty);
  });
});
