import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { gzip } from "../archive/mod.ts";
import { digestOf, formatManifest, mediaTypes } from "../oci/mod.ts";
import { MemoryRegistry, openTransfers } from "./test-registry.ts";
import {
  type Blob,
  blobOf,
  bytesOf,
  chunksOf,
  configOf,
  fileEntry,
  imageBlobs,
  layerOf,
  tarOf,
} from "./test-stores.ts";

const gzipped = async (text: string) => bytesOf(gzip(chunksOf(await layerOf(text))));
const noise = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes)));

async function open() {
  const registry = new MemoryRegistry();
  const stores = await openTransfers();
  const name = `${registry.address}/app:1`;
  const dispose = () => {
    registry[Symbol.dispose]();
    stores[Symbol.dispose]();
  };
  return { registry, name, ...stores, [Symbol.dispose]: dispose };
}

/** One layer, as an image that says of it what it likes. */
async function lyingImage(lie: { diffId?: string; size?: number; bytes?: Uint8Array }) {
  const tar = await layerOf("one", noise(10_000).toString("hex"));
  const bytes = await bytesOf(gzip(chunksOf(tar)));
  const rootfs = { type: "layers", diff_ids: [lie.diffId ?? digestOf(tar)] };
  const config = blobOf(mediaTypes.ociConfig, configOf([], { rootfs }));
  const layer = blobOf(mediaTypes.ociLayerGzip, bytes);
  const descriptor = { ...layer.descriptor, size: lie.size ?? bytes.length };
  const manifest = blobOf(mediaTypes.ociManifest, formatManifest(config.descriptor, [descriptor]));
  return [manifest, config, { ...layer, bytes: lie.bytes ?? bytes }] as const;
}

describe("pull()", () => {
  test("brings an image whole, and knows it by the digest of its manifest", async () => {
    using stores = await open();
    const { registry, name } = stores;
    const image = await imageBlobs([await layerOf("one"), await layerOf("two")], { gzip: true });
    registry.put("1", image);
    const pulled = await stores.pull(name);
    expect(pulled.tags).toEqual([name]);
    const { digest } = image[0]!.descriptor;
    expect(pulled.repoDigests).toEqual([`${registry.address}/app@${digest}`]);
    expect(pulled.manifest?.digest).toBe(digest);
    for (const { descriptor } of image.slice(2)) {
      expect(await stores.content.size(descriptor.digest)).toBe(descriptor.size);
    }
    expect(readdirSync(`${stores.directory}/image/partial`)).toEqual([]);
    expect(stores.told.at(-1)).toBe(`Status: Downloaded newer image for ${name}`);
    const asked = registry.seen.length;
    await stores.pull(name);
    expect(registry.seen.slice(asked)).toEqual(["HEAD /v2/app/manifests/1"]);
    expect(await stores.images.collect({ layers: new Set(), blobs: new Set() })).toBe(0);
    expect(stores.images.resolve(name).id).toBe(pulled.id);
  });

  test("then push() to an empty registry gives the same manifest and blobs", async () => {
    using stores = await open();
    using other = new MemoryRegistry();
    const image = await imageBlobs([await layerOf("one"), await layerOf("two")], { gzip: true });
    stores.registry.put("1", image);
    const { id } = await stores.pull(stores.name);
    const copy = `${other.address}/copy:2`;
    stores.images.tag(id, copy);
    await stores.push(copy);
    expect(other.manifests.get("2")?.bytes).toEqual(image[0]!.bytes);
    expect(new Set(other.blobs.keys())).toEqual(
      new Set(image.slice(1).map(({ descriptor }) => descriptor.digest)),
    );
  });

  test("keeps what came of a pull that failed, and fetches only the rest", async () => {
    using stores = await open();
    const { registry, name } = stores;
    const image = await imageBlobs([await layerOf("one"), await layerOf("two")], { gzip: true });
    registry.put("1", image);
    const [, , one, two] = image as [Blob, Blob, Blob, Blob];
    registry.blobs.delete(two.descriptor.digest);
    await expect(stores.pull(name)).rejects.toMatchObject({ code: "not_found" });
    expect(stores.images.list()).toEqual([]);
    registry.blobs.set(two.descriptor.digest, two.bytes);
    await stores.images.collect({ layers: new Set(), blobs: new Set() });
    const asked = registry.seen.length;
    await stores.pull(name);
    const again = registry.seen.slice(asked);
    expect(again).toContain(`GET /v2/app/blobs/${two.descriptor.digest}`);
    if ((await stores.content.size(one.descriptor.digest)) !== undefined) {
      expect(again.filter((line) => line.includes(one.descriptor.digest)).length).toBeLessThan(2);
    }
  });

  test("goes on where a connection broke", async () => {
    using stores = await open();
    const { registry, name } = stores;
    const tar = await layerOf("big", noise(2_000_000).toString("latin1"));
    const image = await imageBlobs([tar], { gzip: true });
    registry.put("1", image);
    const { bytes, descriptor } = image[2]!;
    const ranges: (string | null)[] = [];
    registry.intercept = (request, path) => {
      if (!path.includes(descriptor.digest)) return undefined;
      const range = request.headers.get("range");
      ranges.push(range);
      if (ranges.length > 1) return undefined;
      const half = bytes.slice(0, 1_000_000);
      return new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(half);
            setTimeout(() => controller.close(), 50);
          },
        }),
      );
    };
    await stores.pull(name);
    expect(ranges).toEqual([null, "bytes=1000000-"]);
  });

  test("unpacks while a layer comes, and shows the layer when both its digests are right", async () => {
    using stores = await open();
    const { registry, name } = stores;
    const tar = await tarOf([
      fileEntry("first", noise(1_000_000).toString("latin1")),
      fileEntry("second", noise(1_000_000).toString("latin1")),
    ]);
    const image = await imageBlobs([tar], { gzip: true });
    registry.put("1", image);
    const { bytes, descriptor } = image[2]!;
    const ingest = `${stores.directory}/snapshot/ingest`;
    const isUnpacked = () =>
      readdirSync(ingest).some((id) => readdirSync(`${ingest}/${id}`).includes("second"));
    registry.intercept = (_, path) => {
      if (!path.includes(descriptor.digest)) return undefined;
      const body = new ReadableStream({
        async start(controller) {
          controller.enqueue(bytes.slice(0, -1000));
          while (!isUnpacked()) await Bun.sleep(5);
          expect(stores.snapshots.layers()).toEqual([]);
          controller.enqueue(bytes.slice(-1000));
          controller.close();
        },
      });
      return new Response(body);
    };
    await stores.pull(name);
    expect(stores.snapshots.layers().map(({ diffId }) => diffId)).toEqual([digestOf(tar)]);
    expect(readdirSync(ingest)).toEqual([]);
  });
});

describe("pull() refuses, and keeps nothing of", () => {
  const cases: [string, () => Promise<readonly Blob[]>, string, string][] = [
    [
      "a layer with other bytes",
      async () => {
        const image = await lyingImage({});
        const bytes = Buffer.from(image[2].bytes);
        bytes[bytes.length - 1]! ^= 1;
        return [image[0], image[1], { ...image[2], bytes }];
      },
      "filesystem layer verification failed for digest sha256:",
      "corrupt",
    ],
    [
      "a layer whose tar is right, in a file that is another",
      async () => {
        const tar = await layerOf("one", noise(10_000).toString("hex"));
        const packed = await bytesOf(gzip(chunksOf(tar)));
        const padded = (last: string) => Buffer.concat([packed, Buffer.from(`\0\0${last}`)]);
        const bytes = padded("a");
        const rootfs = { type: "layers", diff_ids: [digestOf(tar)] };
        const config = blobOf(mediaTypes.ociConfig, configOf([], { rootfs }));
        const layer = blobOf(mediaTypes.ociLayerGzip, bytes);
        const manifest = formatManifest(config.descriptor, [layer.descriptor]);
        const wrong = { ...layer, bytes: padded("b") };
        return [blobOf(mediaTypes.ociManifest, manifest), config, wrong];
      },
      "filesystem layer verification failed for digest sha256:",
      "corrupt",
    ],
    [
      "a layer that is longer than it should be",
      async () => {
        const image = await lyingImage({});
        return [
          image[0],
          image[1],
          { ...image[2], bytes: Buffer.concat([image[2].bytes, noise(9)]) },
        ];
      },
      "bytes",
      "exhausted",
    ],
    [
      "a layer whose tar is another",
      () => lyingImage({ diffId: digestOf("another") }),
      "its tar hashes to",
      "corrupt",
    ],
    [
      "a layer that is not what its name says",
      async () =>
        lyingImage({ bytes: await gzipped("other"), size: (await gzipped("other")).length }),
      "verification failed",
      "corrupt",
    ],
    [
      "a config with fewer layers than the manifest",
      async () => {
        const layer = blobOf(mediaTypes.ociLayerGzip, await gzipped("one"));
        const config = blobOf(mediaTypes.ociConfig, configOf([]));
        const bytes = formatManifest(config.descriptor, [layer.descriptor]);
        return [blobOf(mediaTypes.ociManifest, bytes), config, layer];
      },
      "layers length mismatch",
      "corrupt",
    ],
    [
      "an artifact",
      async () => {
        const config = blobOf("application/vnd.example+json", Buffer.from("{}"));
        return [blobOf(mediaTypes.ociManifest, formatManifest(config.descriptor, [])), config];
      },
      "it is an artifact of type application/vnd.example+json",
      "unsupported",
    ],
    [
      "Docker's schema 1",
      async () => [
        blobOf(mediaTypes.dockerSchema1Signed, Buffer.from('{"schemaVersion":1,"fsLayers":[]}')),
      ],
      "schema 1",
      "unsupported",
    ],
    [
      "10,000 layers",
      async () => {
        const [, config, layer] = await lyingImage({});
        const bytes = formatManifest(config.descriptor, Array(10_000).fill(layer.descriptor));
        return [blobOf(mediaTypes.ociManifest, bytes), config];
      },
      "more than 500",
      "corrupt",
    ],
    [
      "an index that is nested without end",
      async () => {
        const blobs: Blob[] = [];
        let inner = (await lyingImage({}))[0];
        for (let depth = 0; depth < 6; depth++) {
          const index = { schemaVersion: 2, manifests: [inner.descriptor] };
          blobs.push(inner);
          inner = blobOf(mediaTypes.ociIndex, Buffer.from(JSON.stringify(index)));
        }
        return [inner, ...blobs];
      },
      "nested too deep",
      "corrupt",
    ],
  ];
  test.each(cases)("%s", async (_, make, message, code) => {
    using stores = await open();
    const blobs = await make();
    stores.registry.put("1", blobs);
    for (const blob of blobs) stores.registry.manifests.set(blob.descriptor.digest, blob);
    const failing = stores.pull(stores.name);
    await expect(failing).rejects.toThrow(message);
    await expect(failing).rejects.toMatchObject({ code });
    expect(stores.images.list()).toEqual([]);
    expect(stores.snapshots.layers()).toEqual([]);
    expect(readdirSync(`${stores.directory}/image/partial`)).toEqual([]);
  });
});
