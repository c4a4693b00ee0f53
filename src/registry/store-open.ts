import type { Database } from "bun:sqlite";
import { mkdir } from "node:fs/promises";
import { KeyedLock } from "../base/mod.ts";
import type { BlobStore } from "../content/mod.ts";
import { Blobs } from "./store-blobs.ts";
import { Manifests } from "./store-manifests.ts";
import { Names } from "./store-names.ts";
import { createTables } from "./store-tables.ts";
import { Uploads } from "./store-uploads.ts";

/** How long things are kept, and how many there may be. */
export interface StoreBounds {
  /** What a push may still rely on is not collected for this long: more than any push takes. */
  readonly graceMs: number;
  /** Deleted manifests and the former targets of tags stay this long, for `undo`. */
  readonly historyMs: number;
  /** An upload that nobody writes to for this long is forgotten. */
  readonly uploadMs: number;
  readonly uploadsMax: number;
  readonly uploadsPerClientMax: number;
  readonly repositoriesMax: number;
}

export const defaultBounds: StoreBounds = {
  graceMs: 86_400_000,
  historyMs: 7 * 86_400_000,
  uploadMs: 86_400_000,
  uploadsMax: 10_000,
  uploadsPerClientMax: 500,
  repositoriesMax: 100_000,
};

/** All that a registry keeps. */
export interface RegistryStore {
  readonly database: Database;
  readonly content: BlobStore;
  readonly locks: KeyedLock;
  readonly names: Names;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly uploads: Uploads;
  readonly bounds: StoreBounds;
}

/**
 * Opens the registry's names in `database` and its uploads below `directory`, which must be on the file
 * system of the content store where that is a disk. What a crash left is put right.
 */
export async function openRegistryStore({
  database,
  content,
  directory,
  bounds = {},
}: {
  database: Database;
  content: BlobStore;
  directory: string;
  bounds?: Partial<StoreBounds>;
}): Promise<RegistryStore> {
  const all = { ...defaultBounds, ...bounds };
  const uploadsDirectory = `${directory}/uploads`;
  await mkdir(uploadsDirectory, { recursive: true, mode: 0o700 });
  createTables(database);
  const locks = new KeyedLock();
  const names = new Names(database, all);
  const blobs = new Blobs({ database, content, locks, touchEveryMs: all.graceMs / 4 });
  const manifests = new Manifests({ database, content, locks, names, blobs });
  const uploads = new Uploads({ database, directory: uploadsDirectory, ...all });
  await uploads.reconcile();
  return {
    ...{ database, content, locks, names, blobs, manifests, uploads },
    bounds: all,
  };
}
