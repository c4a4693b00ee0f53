import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { type TarInput, writeTar } from "../archive/mod.ts";
import {
  blobPath,
  type Descriptor,
  type Digest,
  digestAlgorithms,
  digestOf,
  familiarReference,
  formatManifest,
  fullReference,
  mediaTypes,
  parseManifestOrIndex,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../oci/mod.ts";
import type { ArchiveEntry, ArchiveFile } from "./archive-file.ts";
import { planArchive } from "./archive-plan.ts";
import type { LayoutFolder } from "./layout-folder.ts";
import {
  indexBytes,
  type LayoutFiles,
  LayoutSource,
  nameKey,
  wholeNameKey,
} from "./layout-source.ts";
import { openArchive } from "./load.ts";
import type { PlannedImage, PlannedLayer } from "./planned.ts";
import { choosePlatform } from "./pull-manifest.ts";

const layerTypes: Readonly<Record<string, string>> = {
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
};

/** The images of an archive (an OCI layout as tar, or what any `docker save` wrote) to be copied. */
export async function openArchiveSource(
  path: string,
  scratch: string,
): Promise<{ source: LayoutSource; [Symbol.asyncDispose](): Promise<void> }> {
  const archive = await openArchive(path, { scratch, isSpent: false });
  try {
    const isLayout = archive.find("index.json") && archive.find("oci-layout");
    const made = isLayout ? new Map<string, Uint8Array | ArchiveEntry>() : await layoutOf(archive);
    const source = new LayoutSource(filesOf(archive, made, path));
    return { source, [Symbol.asyncDispose]: () => archive[Symbol.asyncDispose]() };
  } catch (error) {
    await archive[Symbol.asyncDispose]();
    throw error;
  }
}

function filesOf(
  archive: ArchiveFile,
  made: ReadonlyMap<string, Uint8Array | ArchiveEntry>,
  path: string,
): LayoutFiles {
  const find = (name: string) => made.get(name) ?? archive.find(name);
  async function* stream(name: string, from: number) {
    const found = find(name);
    if (found instanceof Uint8Array) yield found.subarray(from);
    else if (found) yield* archive.stream(found, from);
  }
  return {
    where: `archive:${path}`,
    async size(name) {
      const found = find(name);
      return found instanceof Uint8Array ? found.length : found?.sizeBytes;
    },
    read: async (name) => Buffer.concat(await Array.fromAsync(stream(name, 0))),
    stream,
  };
}

/** The layout that an archive from before 2024 would have: configs and layers as they are. */
async function layoutOf(archive: ArchiveFile): Promise<Map<string, Uint8Array | ArchiveEntry>> {
  const files = new Map<string, Uint8Array | ArchiveEntry>();
  const index: Descriptor[] = [];
  for (const image of await planArchive(archive, undefined)) {
    const layers: Descriptor[] = [];
    for (const layer of image.layers) layers.push(await describeLayer(archive, layer, files));
    index.push(...describeImage(image, layers, files));
  }
  return files.set("index.json", indexBytes(index));
}

function describeImage(
  { configBytes, id, names }: PlannedImage,
  layers: readonly Descriptor[],
  files: Map<string, Uint8Array | ArchiveEntry>,
): Descriptor[] {
  const config = { mediaType: mediaTypes.ociConfig, digest: id, size: configBytes.length };
  const bytes = formatManifest(config, layers);
  const digest = digestOf(bytes);
  files.set(blobPath(id), configBytes).set(blobPath(digest), bytes);
  const plain = { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
  if (names.length === 0) return [plain];
  return names.map((name) => ({ ...plain, annotations: namesOf(parseReference(name)) }));
}

async function describeLayer(
  archive: ArchiveFile,
  { entry }: PlannedLayer,
  files: Map<string, Uint8Array | ArchiveEntry>,
): Promise<Descriptor> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const part of archive.stream(entry, 0)) hasher.update(part);
  const digest = `sha256:${hasher.digest("hex")}` as Digest;
  files.set(blobPath(digest), entry);
  const mediaType = layerTypes[await archive.sniff(entry)] ?? mediaTypes.ociLayer;
  return { mediaType, digest, size: entry.sizeBytes };
}

/** A layout as one tar, which every engine can load: with Docker's `manifest.json` for its one image. */
export async function* packLayout(
  layout: LayoutFolder,
  { directory, root, name }: { directory: string; root: Digest; name: string },
): AsyncGenerator<Uint8Array, void> {
  const reference = name === "" ? undefined : withDefaultTag(parseReference(name));
  const { descriptor } = await layout.manifest(root);
  const others = (await layout.index()).filter(({ digest }) => digest !== root);
  const own = reference ? { ...descriptor, annotations: namesOf(reference) } : descriptor;
  const list = JSON.stringify(await listFor(layout, root, reference));
  const file = (path: string, body: Uint8Array): TarInput => ({
    header: { path, mode: 0o644 },
    body,
  });
  async function* entries(): AsyncGenerator<TarInput, void> {
    for (const path of ["blobs", ...digestAlgorithms.map((each) => `blobs/${each}`)]) {
      yield { header: { path, type: "directory", mode: 0o755 } };
    }
    const names = await readdir(`${directory}/blobs`, { recursive: true });
    for (const name of names.filter((each) => /\/[0-9a-f]+$/.test(each)).sort()) {
      const path = `blobs/${name}`;
      const { size: sizeBytes } = await stat(`${directory}/${path}`);
      const body = createReadStream(`${directory}/${path}`, { highWaterMark: 256 << 10 });
      yield { header: { path, mode: 0o644, sizeBytes }, body };
    }
    yield file("index.json", indexBytes([own, ...others]));
    yield file("manifest.json", Buffer.from(list));
    yield file("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  }
  yield* writeTar(entries());
}

function namesOf(reference: Reference): Record<string, string> {
  return { [wholeNameKey]: fullReference(reference), [nameKey]: reference.tag ?? "" };
}

/** `manifest.json`: the image for this host. */
async function listFor(layout: LayoutFolder, root: Digest, reference: Reference | undefined) {
  let digest = root;
  for (let depth = 0; depth < 3; depth++) {
    const parsed = parseManifestOrIndex((await layout.manifest(digest)).bytes);
    if ("manifest" in parsed) {
      const { config, layers } = parsed.manifest;
      const RepoTags = reference ? [familiarReference(reference)] : null;
      const Layers = layers.map((layer) => blobPath(layer.digest));
      return [{ Config: blobPath(config.digest), RepoTags, Layers }];
    }
    try {
      ({ digest } = choosePlatform(parsed.index, undefined));
    } catch {
      return []; // no image for this host: the layout has the others
    }
  }
  return [];
}
