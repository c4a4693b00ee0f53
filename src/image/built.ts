import {
  type Descriptor,
  type Digest,
  type ImageConfig,
  parseManifest,
  parseReference,
} from "../oci/mod.ts";
import { blobsOf } from "./origins.ts";
import type { Transfer } from "./pull.ts";
import { familiar } from "./records.ts";
import type { Image } from "./types.ts";

/** An image that was made here with a manifest of its own, maybe in an index. Its layers are here. */
export interface MadeImage {
  readonly id: Digest;
  readonly config: ImageConfig;
  readonly configBytes: Uint8Array;
  /** Whole references. */
  readonly names: readonly string[];
  /** The image's manifest. */
  readonly manifest: Digest;
  /** The index that it is in, or the manifest itself. */
  readonly root: Descriptor;
  /** Of all platforms, and of what is attached to them; the index itself among them. */
  readonly manifests: ReadonlyMap<
    Digest,
    { readonly mediaType: string; readonly bytes: Uint8Array }
  >;
  readonly read: (blob: Digest) => AsyncIterable<Uint8Array>;
}

/**
 * Stores the image as if it had been pulled: manifest and index stay as they are, other platforms and what
 * is attached stay as blobs, so that a push sends all of it with the same digests.
 */
export async function keepMade({ origins, store }: Transfer, made: MadeImage): Promise<Image> {
  const { id, config, configBytes, names, root, manifests } = made;
  const { content } = store.inner;
  const { bytes, mediaType } = manifests.get(made.manifest)!;
  const others = [...manifests].filter(
    ([digest]) => digest !== made.manifest && digest !== root.digest,
  );
  const { layers } = parseManifest(bytes);
  const blobs = [...layers, ...others.flatMap(([, other]) => blobsOf(other.bytes))];
  using _pinned = store.pin(blobs.map(({ digest }) => digest));
  for (const { digest: expected, size: sizeBytesMax } of blobs) {
    if ((await content.size(expected)) !== undefined) continue;
    await content.put(made.read(expected), { expected, sizeBytesMax });
  }
  const diffIds = config.rootfs.diff_ids;
  const descriptor = { mediaType, digest: made.manifest, size: bytes.length };
  const files = layers.map(({ digest, mediaType: type, size: sizeBytes }, at) => {
    return { diffId: diffIds[at]!, digest, mediaType: type, sizeBytes };
  });
  const row = { id, config: configBytes, names, diffIds, manifest: { descriptor, bytes } };
  const image = await store.inner.insert({ ...row, replaces: true }, files);
  for (const [digest, other] of others) origins.setAttached(id, { digest, ...other });
  const isIndex = root.digest !== made.manifest;
  const index = { digest: root.digest, ...manifests.get(root.digest)! };
  origins.setIndex(id, isIndex ? index : undefined);
  for (const name of names)
    if (parseReference(name).tag) store.inner.tell("tag", id, familiar(name));
  return image;
}
