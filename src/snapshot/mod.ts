/**
 * Root filesystems on overlayfs: layers, which are read-only and known by their DiffID, and snapshots,
 * which are written to. And tars onto a disk and back, off the event loop, where no archive and no
 * container can lead them out of their directory.
 * Spec: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md
 */
export type { Filled, FillRules } from "./fill.ts";
export { Growth } from "./growth.ts";
export type { PackRules } from "./pack.ts";
export { openSnapshotStore } from "./store.ts";
export type { HashPlace } from "./stream-hash.ts";
export { packTar, unpackTar } from "./tar.ts";
export type {
  ChangeKind,
  CommitOptions,
  GrowingFile,
  Layer,
  SnapshotStore,
  UnpackGrowing,
} from "./types.ts";
export type { Unpacked, UnpackRules } from "./unpack.ts";
