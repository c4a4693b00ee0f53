import { Failure } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  fullReference,
  type ImageConfig,
  parseReference,
  withDefaultTag,
} from "../oci/mod.ts";
import type { ArchiveEntry } from "./archive-file.ts";

/** A layer that an image in the archive has. */
export interface PlannedLayer {
  readonly diffId: Digest;
  readonly entry: ArchiveEntry;
  /** What the manifest says of the file; absent where there is no manifest. */
  readonly descriptor?: Descriptor;
}

/** An image in the archive, small parts read and verified, layers only located. */
export interface PlannedImage {
  readonly id: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Whole references with tags. */
  readonly names: readonly string[];
  readonly layers: readonly PlannedLayer[];
  readonly manifest?: { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
}

/** A name from the archive, whole; it has a tag. @throws Failure "invalid" */
export function tagName(text: string): string {
  const reference = withDefaultTag(parseReference(text));
  if (reference.tag && !reference.digest) return fullReference(reference);
  throw new Failure("invalid", `Cannot load the archive: invalid tag "${text.slice(0, 300)}"`);
}

/** Each layer's DiffID with what stands for it. @throws Failure "corrupt" — not equally many */
export function pairLayers<Item>(
  { rootfs }: ImageConfig,
  items: readonly Item[],
): (readonly [Digest, Item])[] {
  if (rootfs.diff_ids.length !== items.length) {
    throw new Failure(
      "corrupt",
      `invalid manifest, layers length mismatch: expected ${items.length}, got ${rootfs.diff_ids.length}`,
    );
  }
  return rootfs.diff_ids.map((diffId, index) => [diffId, items[index]!] as const);
}
