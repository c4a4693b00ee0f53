/** `GraphDriver` of inspect: where on the host the files are, under the names of Docker's overlay2. */
import type { Digest } from "../oci/mod.ts";
import type { Context } from "./context.ts";
import type { DriverData } from "./schema.ts";

export const storageDriver = "overlay2";

/** `MergedDir` stands there while it is mounted: an empty folder is no root filesystem. */
export function containerFolders({ snapshots, info }: Context, id: string): DriverData {
  const folders = snapshots.folders(id);
  if (!folders) return { Name: storageDriver, Data: null };
  const { lower, upper, work, merged } = folders;
  return {
    Name: storageDriver,
    Data: {
      LowerDir: lower.join(":"),
      ...(merged === undefined ? {} : { MergedDir: `${info.mountsBelow ?? ""}${merged}` }),
      UpperDir: upper,
      WorkDir: work,
    },
  };
}

/** An image is mounted nowhere, and nothing works on it: only its layers' folders are there. */
export function imageFolders({ snapshots }: Context, layers: readonly Digest[]): DriverData {
  const folders = layers.map((diffId) => snapshots.layerFolder(diffId)).toReversed();
  const [upper, ...lower] = new Set(folders.filter((folder) => folder !== undefined));
  // Of a platform of another machine the layers may be absent.
  if (upper === undefined || folders.includes(undefined))
    return { Name: storageDriver, Data: null };
  return {
    Name: storageDriver,
    Data: { ...(lower.length > 0 ? { LowerDir: lower.join(":") } : {}), UpperDir: upper },
  };
}
