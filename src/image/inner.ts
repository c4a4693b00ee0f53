import type { Digest } from "../oci/mod.ts";
import type { HashPlace } from "../snapshot/mod.ts";
import type { Layers } from "./layers.ts";
import type { Tools } from "./load.ts";
import type { LayerBlob, NewImage } from "./records.ts";
import type { Image } from "./types.ts";

/** Of files that are unpacked together, only one that is most of their bytes gets a thread for its hash. */
export function hashPlaceOf(sizeBytes: number, all: readonly number[]): HashPlace {
  const sum = all.reduce((total, each) => total + each, 0);
  return sizeBytes > sum / 2 ? "beside" : "here";
}

/** The store as pull and push see it. */
export interface Inner extends Tools {
  readonly layers: Layers;
  get(id: Digest): Image;
  /** Makes an image's row and names durable. With `replaces`, its manifest takes an earlier one's place. */
  insert(
    image: NewImage & {
      readonly names: readonly string[];
      readonly diffIds: readonly Digest[];
      readonly replaces?: boolean;
    },
    blobs: readonly LayerBlob[],
  ): Promise<Image>;
  /** Gives an image that is still there one more whole name; nothing is told. */
  name(id: Digest, name: string): void;
  tell(action: string, id: Digest, name: string): void;
}
