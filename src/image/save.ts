import { type TarInput, writeTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import {
  blobPath,
  type Descriptor,
  type Digest,
  digestOf,
  familiarName,
  familiarReference,
  formatManifest,
  formatPlatform,
  hexOf,
  matchesPlatform,
  mediaTypes,
  type Platform,
  parseManifest,
  parseReference,
} from "../oci/mod.ts";
import { findImage, isIdOf } from "./find.ts";
import type { Tools } from "./load.ts";
import { isCanonical, repositoryOf } from "./records.ts";

/** An image on its way into an archive. */
export interface SavedImage {
  readonly id: Digest;
  /** Whole references with tags, sorted. */
  readonly names: readonly string[];
  readonly diffIds: readonly Digest[];
}

/**
 * The images that the references name: a repository without a tag stands for all its tags, an ID for
 * the image without names. Each image once, in the order of the references.
 * @throws Failure "not_found" | "conflict" | "invalid"
 */
export function chooseSaved(
  { records }: Tools,
  references: readonly string[],
  platform: Platform | undefined,
): SavedImage[] {
  const names = new Map<Digest, Set<string>>();
  const take = (id: Digest, name?: string) => {
    const known = names.get(id) ?? new Set();
    names.set(id, name === undefined ? known : known.add(name));
  };
  for (const text of references) {
    const inRepository = namesUnder(text, [...records.names()]);
    if (inRepository.length > 0) for (const [name, id] of inRepository) take(id, name);
    else {
      const id = findImage(records, text);
      const tag = isIdOf(id, text) ? undefined : tagIn(text);
      take(id, tag && records.byName(tag) === id ? tag : undefined);
    }
  }
  return [...names].map(([id, found]) => {
    const { config } = records.row(id)!;
    if (platform && !matchesPlatform(platform, config)) {
      const asked = formatPlatform(platform);
      const why = "was found but does not provide the specified platform";
      throw new Failure("not_found", `image with reference ${id} ${why} (${asked})`);
    }
    return { id, names: [...found].sort(), diffIds: config.rootfs.diff_ids };
  });
}

/** All tags of the repository that a text without a tag names. */
function namesUnder(text: string, all: readonly [string, Digest][]): [string, Digest][] {
  if (/^(?:sha256:)?[0-9a-f]{64}$/.test(text)) return [];
  const { tag, digest, domain, path } = parseReference(text);
  if (tag || digest) return [];
  return all
    .filter(([name]) => !isCanonical(name) && repositoryOf(name) === `${domain}/${path}`)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function tagIn(text: string): string | undefined {
  const { domain, path, tag } = parseReference(text);
  return tag ? `${domain}/${path}:${tag}` : undefined;
}

/** A file of the archive that is in a store. */
export interface Blob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly read: () => AsyncIterable<Uint8Array>;
}

/** An image with all that its part of the archive needs. */
interface Prepared extends SavedImage {
  readonly config: Uint8Array;
  readonly manifest: { readonly bytes: Uint8Array; readonly descriptor: Descriptor };
  readonly layers: readonly Descriptor[];
  readonly blobs: readonly Blob[];
}

/**
 * The archive that `docker save` writes: an OCI layout with `manifest.json` and `repositories` beside
 * it. The same images give the same bytes, always. A manifest that an image came with is kept, with its
 * layers as they came; else one is made, over plain layers.
 */
export async function* saveImages(
  tools: Tools,
  images: readonly SavedImage[],
): AsyncGenerator<Uint8Array, void> {
  const prepared: Prepared[] = [];
  for (const image of images) prepared.push(await prepare(tools, image));
  yield* writeTar(entriesOf(prepared));
}

function* entriesOf(images: readonly Prepared[]): Generator<TarInput, void> {
  const folder = (path: string) => ({ header: { path, type: "directory" as const, mode: 0o755 } });
  const file = (path: string, body: Uint8Array | string): TarInput => ({
    header: { path, mode: 0o644 },
    body: typeof body === "string" ? Buffer.from(body) : body,
  });
  yield folder("blobs");
  yield folder("blobs/sha256");
  const written = new Set<Digest>();
  const isNew = (digest: Digest) => !written.has(digest) && written.add(digest);
  for (const { id, config, manifest, blobs } of images) {
    if (isNew(id)) yield file(blobPath(id), config);
    const { digest } = manifest.descriptor;
    if (isNew(digest)) yield file(blobPath(digest), manifest.bytes);
    for (const blob of blobs) {
      if (!isNew(blob.digest)) continue;
      const { sizeBytes } = blob;
      yield { header: { path: blobPath(blob.digest), mode: 0o644, sizeBytes }, body: blob.read() };
    }
  }
  yield file("index.json", JSON.stringify(indexOf(images)));
  yield file("manifest.json", JSON.stringify(images.map(listItem)));
  yield file("oci-layout", '{"imageLayoutVersion":"1.0.0"}');
  const repositories = repositoriesOf(images);
  if (Object.keys(repositories).length > 0) {
    yield file("repositories", JSON.stringify(repositories));
  }
}

async function prepare(tools: Tools, image: SavedImage): Promise<Prepared> {
  const { records } = tools;
  const config = records.configBytes(image.id);
  if (!config) throw new Failure("not_found", `No such image: ${image.id}`);
  const kept = await keptManifest(tools, image);
  if (kept) return { ...image, config, ...kept };
  const layers: Descriptor[] = [];
  const blobs: Blob[] = [];
  for (const diffId of image.diffIds) {
    const { mediaType, blob } = await layerFile(tools, diffId);
    layers.push({ mediaType, digest: blob.digest, size: blob.sizeBytes });
    blobs.push(blob);
  }
  const { ociConfig, ociManifest } = mediaTypes;
  const about = { mediaType: ociConfig, digest: image.id, size: config.length };
  const bytes = formatManifest(about, layers);
  const descriptor = { mediaType: ociManifest, digest: digestOf(bytes), size: bytes.length };
  return { ...image, config, manifest: { bytes, descriptor }, layers, blobs };
}

/** The manifest that the image came with, if all its layers can be written as it says. */
async function keptManifest(
  tools: Tools,
  { id, diffIds }: SavedImage,
): Promise<Pick<Prepared, "manifest" | "layers" | "blobs"> | undefined> {
  const row = tools.records.row(id);
  const bytes = tools.records.manifestBytes(id);
  if (!row?.manifest || !bytes) return undefined;
  const blobs: Blob[] = [];
  for (const [at, { digest, size }] of row.manifestLayers.entries()) {
    const blob = (await storedBlob(tools, digest)) ?? (await madeBlob(tools, diffIds[at]!));
    if (blob?.digest !== digest || blob.sizeBytes !== size) return undefined;
    blobs.push(blob);
  }
  const { digest, size: sizeBytes } = parseManifest(bytes).config;
  const config = tools.records.configBytes(id);
  async function* read() {
    if (config) yield config;
  }
  if (digest !== id) blobs.push({ digest, sizeBytes, read }); // it is known by sha512
  return { manifest: { bytes, descriptor: row.manifest }, layers: row.manifestLayers, blobs };
}

/** The file of a layer: its plain tar when it was made here, else as it came. @throws "not_found" */
export async function layerFile(
  tools: Tools,
  diffId: Digest,
): Promise<{ mediaType: string; blob: Blob }> {
  const made = await madeBlob(tools, diffId);
  if (made) return { mediaType: mediaTypes.ociLayer, blob: made };
  for (const { digest, mediaType } of tools.records.blobsOf(diffId)) {
    const blob = await storedBlob(tools, digest);
    if (blob) return { mediaType, blob };
  }
  throw new Failure(
    "not_found",
    `Cannot save the image: the tar of its layer ${diffId} is absent`,
    {
      hint: "Load or pull the image again",
    },
  );
}

async function storedBlob({ content }: Tools, digest: Digest): Promise<Blob | undefined> {
  const sizeBytes = await content.size(digest);
  return sizeBytes === undefined
    ? undefined
    : { digest, sizeBytes, read: () => content.read(digest) };
}

/** The tar of a layer that was made here; it is counted once, for a tar needs sizes beforehand. */
async function madeBlob({ records, snapshots }: Tools, diffId: Digest): Promise<Blob | undefined> {
  if (snapshots.layer(diffId)?.origin !== "snapshot") return undefined;
  let sizeBytes = records.tarSize(diffId);
  if (sizeBytes === undefined) {
    sizeBytes = 0;
    for await (const part of snapshots.layerTar(diffId)) sizeBytes += part.length;
    records.setTarSize(diffId, sizeBytes);
  }
  return { digest: diffId, sizeBytes, read: () => snapshots.layerTar(diffId) };
}

function indexOf(images: readonly Prepared[]) {
  const manifests = images.flatMap(({ manifest: { descriptor }, names }): Descriptor[] => {
    if (names.length === 0) return [descriptor];
    return names.map((name) => ({
      ...descriptor,
      annotations: {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": parseReference(name).tag ?? "latest",
      },
    }));
  });
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
}

function listItem({ id, names, layers, diffIds }: Prepared) {
  const tags = names.map((name) => familiarReference(parseReference(name)));
  const sources = diffIds.map((diffId, at) => [diffId, layers[at]] as const);
  return {
    Config: blobPath(id),
    RepoTags: tags.length > 0 ? tags : null,
    Layers: layers.map(({ digest }) => blobPath(digest)),
    LayerSources: Object.fromEntries(sources),
  };
}

/** What readers from before 2016 look for: the top layer of each tag. */
function repositoriesOf(images: readonly Prepared[]): Record<string, Record<string, string>> {
  const found: Record<string, Record<string, string>> = {};
  for (const { names, layers, id } of images) {
    for (const name of names) {
      const reference = parseReference(name);
      const tags = (found[familiarName(reference)] ??= {});
      tags[reference.tag ?? ""] = hexOf(layers.at(-1)?.digest ?? id);
    }
  }
  return found;
}
