/** A tree of images as an archive, and on its way to a registry. */
import { type TarInput, writeTar } from "../archive/mod.ts";
import {
  type Descriptor,
  familiarReference,
  hexOf,
  mediaTypes,
  parseReference,
} from "../oci/mod.ts";
import type { Repository } from "../registry/mod.ts";
import type { Blob, ImageTree } from "./image-tree.ts";

/**
 * An OCI layout as tar; with `docker`, Docker's `manifest.json` beside it. The same tree gives the same
 * bytes. Spec: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export function writeLayout(
  tree: ImageTree,
  { names, docker }: { names: readonly string[]; docker: boolean },
): AsyncIterable<Uint8Array> {
  return writeTar(entriesOf(tree, names, docker));
}

function* entriesOf(
  tree: ImageTree,
  names: readonly string[],
  docker: boolean,
): Generator<TarInput, void> {
  const folder = (path: string) => ({ header: { path, type: "directory" as const, mode: 0o755 } });
  const file = (path: string, body: Uint8Array | string): TarInput => ({
    header: { path, mode: 0o644 },
    body: typeof body === "string" ? Buffer.from(body) : body,
  });
  yield folder("blobs");
  yield folder("blobs/sha256");
  const blobs: [string, () => TarInput][] = [
    ...[...tree.manifests].map(([digest, { bytes }]): [string, () => TarInput] => {
      return [hexOf(digest), () => file(`blobs/sha256/${hexOf(digest)}`, bytes)];
    }),
    ...[...tree.blobs.values()].map(({ digest, sizeBytes, read }): [string, () => TarInput] => {
      const path = `blobs/sha256/${hexOf(digest)}`;
      return [hexOf(digest), () => ({ header: { path, mode: 0o644, sizeBytes }, body: read() })];
    }),
  ];
  for (const [, entry] of blobs.sort(([a], [b]) => (a < b ? -1 : 1))) yield entry();
  yield file("index.json", JSON.stringify(indexOf(tree, names)));
  if (docker) yield file("manifest.json", JSON.stringify(dockerList(tree, names)));
  yield file("oci-layout", '{"imageLayoutVersion":"1.0.0"}');
}

function indexOf({ root, rootAnnotations }: ImageTree, names: readonly string[]) {
  const named = names.map((name) => ({
    "io.containerd.image.name": name,
    "org.opencontainers.image.ref.name": parseReference(name).tag ?? "latest",
  }));
  const manifests = (named.length > 0 ? named : [{}]).map((own): Descriptor => {
    const annotations = { ...rootAnnotations, ...own };
    return { ...root, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) };
  });
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
}

function dockerList({ images }: ImageTree, names: readonly string[]) {
  const tags = names.map((name) => familiarReference(parseReference(name)));
  const path = (digest: Descriptor["digest"]) => `blobs/sha256/${hexOf(digest)}`;
  return images.map(({ id, layers }, at) => ({
    Config: path(id),
    // One name stands for one image: the first platform's.
    RepoTags: at === 0 && tags.length > 0 ? tags : null,
    Layers: layers.map(({ digest }) => path(digest)),
  }));
}

/** Sends all of a tree to a repository, and gives it a tag when there is one. */
export async function pushTree(
  tree: ImageTree,
  to: {
    readonly repository: Repository;
    readonly tag: string | undefined;
    readonly told: (status: string, id: string) => void;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { repository, tag, told, signal } = to;
  for (const blob of tree.blobs.values()) {
    const id = hexOf(blob.digest).slice(0, 12);
    const { digest, sizeBytes } = blob;
    if (await repository.hasBlob(digest, signal)) told("Layer already exists", id);
    else {
      told("Pushing", id);
      await repository.upload({ digest, sizeBytes, read: (at) => readFrom(blob, at), signal });
      told("Pushed", id);
    }
  }
  for (const [digest, manifest] of tree.manifests) {
    await repository.putManifest(digest, manifest, signal);
  }
  if (tag) await repository.putManifest(tag, tree.manifests.get(tree.root.digest)!, signal);
}

async function* readFrom(blob: Blob, offset: number): AsyncGenerator<Uint8Array, void> {
  let left = offset;
  for await (const bytes of blob.read()) {
    if (left < bytes.length) yield left > 0 ? bytes.subarray(left) : bytes;
    left = Math.max(0, left - bytes.length);
  }
}
