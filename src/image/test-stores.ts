/** For the tests of this folder: real stores in a temporary folder, and archives made by hand. */
import { Database } from "bun:sqlite";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { gzip, type TarInput, writeTar } from "../archive/mod.ts";
import { setLogLevel } from "../base/mod.ts";
import { openContentStore } from "../content/mod.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  formatManifest,
  hostPlatform,
  mediaTypes,
  type Platform,
} from "../oci/mod.ts";
import { openSnapshotStore } from "../snapshot/mod.ts";
import { openImageStore } from "./mod.ts";

setLogLevel("error"); // layers are synced soon after; here their folder is gone by then

export async function bytesOf(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(parts));
}

/** Stores in a folder that goes when they are disposed. */
export async function openStores(given?: string) {
  const isGiven = given !== undefined;
  const directory = given ?? mkdtempSync("/tmp/lading-image-");
  const database = new Database(":memory:");
  const content = await openContentStore({ directory: `${directory}/content` });
  const snapshots = await openSnapshotStore({ directory: `${directory}/snapshot`, database });
  const reopen = () => openImageStore({ database, content, snapshots });
  const images = await reopen();
  let count = 0;
  return {
    directory,
    content,
    snapshots,
    images,
    reopen,
    async file(bytes: Uint8Array): Promise<string> {
      const path = `${directory}/archive-${count++}`;
      await Bun.write(path, bytes);
      return path;
    },
    async load(bytes: Uint8Array, platform?: Platform) {
      const path = await this.file(bytes);
      return await images.load(path, { report() {}, ...(platform ? { platform } : {}) });
    },
    /** All that is stored: nothing of it may be left over. */
    async state() {
      const blobs = await Array.fromAsync(content.list());
      return {
        images: images.list().map(({ id, tags }) => ({ id, tags })),
        layers: snapshots.layers().map(({ diffId }) => diffId),
        blobs: blobs.map(({ digest }) => digest).sort(),
      };
    },
    [Symbol.dispose]() {
      for (const name of readdirSync(directory)) {
        rmSync(`${directory}/${name}`, { recursive: true, force: true });
      }
      if (!isGiven) rmSync(directory, { recursive: true });
    },
  };
}

export const tarOf = (entries: readonly TarInput[]): Promise<Buffer> => bytesOf(writeTar(entries));

export const fileEntry = (path: string, body: string | Uint8Array): TarInput => ({
  header: { path },
  body: Buffer.from(body),
});

export async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

/** A layer with one file. */
export const layerOf = (name: string, text = name) => tarOf([fileEntry(name, text)]);

export function configOf(
  layers: readonly Uint8Array[],
  extra: Readonly<Record<string, unknown>> = {},
): Buffer {
  const rootfs = { type: "layers", diff_ids: layers.map(digestOf) };
  return Buffer.from(JSON.stringify({ ...hostPlatform(), rootfs, ...extra }));
}

interface ListedImage {
  readonly config: Uint8Array;
  readonly layers: readonly string[];
  readonly tags: readonly string[] | null;
}

/** `manifest.json` and what it speaks of, as Docker wrote it before it added a layout. */
export function dockerArchive(
  images: readonly ListedImage[],
  files: readonly TarInput[],
): Promise<Buffer> {
  const name = (config: Uint8Array) => `${digestOf(config).slice(7)}.json`;
  const list = images.map(({ config, layers, tags }) => ({
    Config: name(config),
    RepoTags: tags,
    Layers: layers,
  }));
  return tarOf([
    ...images.map(({ config }) => fileEntry(name(config), config)),
    ...files,
    fileEntry("manifest.json", JSON.stringify(list)),
  ]);
}

export interface Blob {
  readonly bytes: Uint8Array;
  readonly descriptor: Descriptor;
}

export function blobOf(mediaType: string, bytes: Uint8Array): Blob {
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}

/** An image as blobs: its manifest first. */
export async function imageBlobs(
  layers: readonly Uint8Array[],
  options: { gzip?: boolean; config?: Readonly<Record<string, unknown>> } = {},
): Promise<Blob[]> {
  const config = blobOf(mediaTypes.ociConfig, configOf(layers, options.config));
  const blobs: Blob[] = [];
  for (const layer of layers) {
    blobs.push(
      options.gzip
        ? blobOf(mediaTypes.ociLayerGzip, await bytesOf(gzip(chunksOf(layer))))
        : blobOf(mediaTypes.ociLayer, layer),
    );
  }
  const manifest = formatManifest(
    config.descriptor,
    blobs.map(({ descriptor }) => descriptor),
  );
  return [blobOf(mediaTypes.ociManifest, manifest), config, ...blobs];
}

/** An OCI layout as tar. */
export function layoutOf(manifests: readonly Descriptor[], blobs: readonly Blob[]) {
  return tarOf([
    fileEntry("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
    fileEntry("index.json", JSON.stringify({ schemaVersion: 2, manifests })),
    ...blobs.map(({ bytes, descriptor }) => blobEntry(descriptor.digest, bytes)),
  ]);
}

const blobEntry = (digest: Digest, bytes: Uint8Array) =>
  fileEntry(`blobs/sha256/${digest.slice("sha256:".length)}`, bytes);

export const named = (descriptor: Descriptor, name: string): Descriptor => ({
  ...descriptor,
  annotations: { "io.containerd.image.name": name },
});

/** `state()` of new stores. */
export const empty = { images: [], layers: [], blobs: [] };

/** Two layers, two names. */
export async function smallArchive() {
  const layers = [await layerOf("one"), await layerOf("two")];
  const config = configOf(layers);
  const archive = await dockerArchive(
    [{ config, layers: ["a/layer.tar", "b/layer.tar"], tags: ["app:1", "host:5000/app:2"] }],
    [fileEntry("a/layer.tar", layers[0]!), fileEntry("b/layer.tar", layers[1]!)],
  );
  return { layers, config, archive };
}
