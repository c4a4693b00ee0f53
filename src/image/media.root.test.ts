import { describe, expect, test } from "bun:test";
import { gzip } from "../archive/mod.ts";
import { type Descriptor, digestOf, mediaTypes } from "../oci/mod.ts";
import { MemoryRegistry, openTransfers } from "./test-registry.ts";
import { type Blob, blobOf, bytesOf, chunksOf, configOf, layerOf } from "./test-stores.ts";

async function open() {
  const [registry, other] = [new MemoryRegistry(), new MemoryRegistry()];
  const stores = await openTransfers();
  const dispose = () => {
    for (const each of [registry, other, stores]) each[Symbol.dispose]();
  };
  return {
    registry,
    other,
    name: `${registry.address}/app:1`,
    ...stores,
    [Symbol.dispose]: dispose,
  };
}

const json = (mediaType: string, value: object): Blob =>
  blobOf(mediaType, Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...value })));

interface Kind {
  readonly manifest: string;
  readonly config: string;
  readonly layer: string;
  readonly compress: (tar: Uint8Array) => Promise<Uint8Array> | Uint8Array;
}

const gzipped = (tar: Uint8Array) => bytesOf(gzip(chunksOf(tar)));
const zstd = (tar: Uint8Array) => Bun.zstdCompressSync(tar as Uint8Array<ArrayBuffer>);
const asIs = (tar: Uint8Array) => tar;
const { ociManifest, ociConfig, dockerManifest, dockerConfig } = mediaTypes;
const oci = { manifest: ociManifest, config: ociConfig };
const docker = { manifest: dockerManifest, config: dockerConfig };
const kept = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/** The manifest first, then config and layer. */
async function image(
  kind: Kind,
  text: string,
  more: Record<string, unknown> = {},
): Promise<Blob[]> {
  const tar = await layerOf(text);
  const layer = blobOf(kind.layer, await kind.compress(tar));
  const config = blobOf(kind.config, configOf([tar], more));
  const parts = { config: config.descriptor, layers: [layer.descriptor] };
  return [json(kind.manifest, parts), config, layer];
}

const gzipKind: Kind = { ...oci, layer: mediaTypes.ociLayerGzip, compress: gzipped };

describe("pull() and push() keep the bytes of an image with", () => {
  const kinds: [string, Kind][] = [
    ["OCI's gzip layers", gzipKind],
    ["OCI's zstd layers", { ...oci, layer: mediaTypes.ociLayerZstd, compress: zstd }],
    ["OCI's plain layers", { ...oci, layer: mediaTypes.ociLayer, compress: asIs }],
    ["Docker's gzip layers", { ...docker, layer: mediaTypes.dockerLayerGzip, compress: gzipped }],
    ["Docker's plain layers", { ...docker, layer: mediaTypes.dockerLayer, compress: asIs }],
    [
      "Docker's foreign layers",
      { ...docker, layer: mediaTypes.dockerForeignLayer, compress: gzipped },
    ],
    ["OCI's layers that are not to be spread", { ...oci, layer: kept, compress: gzipped }],
    ["another layer than its type says", { ...oci, layer: mediaTypes.ociLayer, compress: zstd }],
  ];
  test.each(kinds)("%s", async (_, kind) => {
    using it = await open();
    const blobs = await image(kind, "one");
    it.registry.put("1", blobs);
    const { id, manifest } = await it.pull(it.name);
    expect(manifest?.mediaType).toBe(kind.manifest);
    expect(it.snapshots.layers().length).toBe(1);
    it.images.tag(id, `${it.other.address}/copy:2`);
    await it.push(`${it.other.address}/copy:2`);
    expect(it.other.manifests.get("2")?.bytes).toEqual(blobs[0]!.bytes);
    const isForeign = kind.layer === kept || kind.layer === mediaTypes.dockerForeignLayer;
    expect(it.other.blobs.has(blobs[2]!.descriptor.digest)).toBe(!isForeign);
  });
});

const inToto = { ...gzipKind, layer: "application/vnd.in-toto+json", compress: asIs };

/** What a builder pushes: an image and what it attached to it, in an index. */
async function attested() {
  const own = await image(gzipKind, "one");
  const statement = await image(inToto, "statement", { os: "unknown", architecture: "unknown" });
  const reference = {
    "vnd.docker.reference.type": "attestation-manifest",
    "vnd.docker.reference.digest": own[0]!.descriptor.digest,
  };
  const unknown = { os: "unknown", architecture: "unknown" };
  const manifests: Descriptor[] = [
    { ...own[0]!.descriptor, platform: { os: "linux", architecture: "amd64" } },
    { ...statement[0]!.descriptor, platform: unknown, annotations: reference },
  ];
  return { own, statement, index: json(mediaTypes.ociIndex, { manifests }) };
}

function putIndex(registry: MemoryRegistry, index: Blob, images: readonly Blob[][]): void {
  for (const each of images) registry.put(each[0]!.descriptor.digest, each);
  registry.put("1", [index]);
}

test("an attestation is kept and not run, and the index keeps its digest to another registry", async () => {
  using it = await open();
  const { own, statement, index } = await attested();
  putIndex(it.registry, index, [own, statement]);
  const { id } = await it.pull(it.name);
  expect(it.images.list().map((each) => each.id)).toEqual([own[1]!.descriptor.digest]);
  await it.images.collect({ layers: new Set(), blobs: new Set() });
  it.images.tag(id, `${it.other.address}/copy:2`);
  await it.push(`${it.other.address}/copy:2`);
  expect(it.other.manifests.get("2")?.bytes).toEqual(index.bytes);
  for (const { descriptor } of statement.slice(1)) {
    expect(it.other.blobs.has(descriptor.digest)).toBe(true);
  }
});

test("an attestation that cannot be had does not keep the image from coming", async () => {
  using it = await open();
  const { own, statement, index } = await attested();
  putIndex(it.registry, index, [own, statement]);
  it.registry.blobs.delete(statement[2]!.descriptor.digest);
  const { id } = await it.pull(it.name);
  it.images.tag(id, `${it.other.address}/copy:2`);
  await it.push(`${it.other.address}/copy:2`);
  expect(it.other.manifests.get("2")?.bytes).toEqual(own[0]!.bytes);
});

test("an index in an index leads to the image, and artifacts beside it are passed over", async () => {
  using it = await open();
  const own = await image(gzipKind, "one");
  const platform = { os: "linux", architecture: "amd64" };
  const inner = json(mediaTypes.ociIndex, { manifests: [{ ...own[0]!.descriptor, platform }] });
  const config = blobOf(mediaTypes.ociEmpty, Buffer.from("{}"));
  const sbom = json(ociManifest, {
    artifactType: "application/vnd.example.sbom",
    config: config.descriptor,
    layers: [],
    subject: own[0]!.descriptor,
  });
  const artifact = { ...sbom.descriptor, artifactType: "application/vnd.example.sbom" };
  const manifests = [artifact, { ...inner.descriptor, platform }];
  putIndex(it.registry, json(mediaTypes.ociIndex, { manifests }), [own, [inner], [sbom, config]]);
  expect((await it.pull(it.name)).id).toBe(own[1]!.descriptor.digest);
  const pulling = it.pull(`${it.registry.address}/app@${sbom.descriptor.digest}`);
  await expect(pulling).rejects.toThrow("it is an artifact of type application/vnd.example.sbom");
});

test("push() of one platform of an index that is here takes that one", async () => {
  using it = await open();
  const amd = await image(gzipKind, "amd", { architecture: "amd64" });
  const arm = await image(gzipKind, "arm", { architecture: "arm64" });
  const manifests = [amd, arm].map(([manifest], at) => ({
    ...manifest!.descriptor,
    platform: { os: "linux", architecture: at === 0 ? "amd64" : "arm64" },
  }));
  putIndex(it.registry, json(mediaTypes.ociIndex, { manifests }), [amd, arm]);
  const platform = { os: "linux", architecture: "arm64" };
  await it.transfers.pull(it.name, { ...it.options, platform });
  const { id } = await it.pull(it.name);
  expect(id).toBe(amd[1]!.descriptor.digest);
  const copy = `${it.other.address}/copy:2`;
  it.images.tag(id, copy);
  await it.transfers.push(copy, { ...it.options, platform });
  expect(it.other.manifests.get("2")?.descriptor.digest).toBe(arm[0]!.descriptor.digest);
  const wrong = { os: "linux", architecture: "s390x" };
  const pushing = it.transfers.push(copy, { ...it.options, platform: wrong });
  await expect(pushing).rejects.toThrow("does not provide the specified platform");
  expect(digestOf(arm[0]!.bytes)).toBe(arm[0]!.descriptor.digest);
});
