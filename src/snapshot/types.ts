import type { Digest } from "../oci/mod.ts";
import type { OwnerMap } from "../sys/mod.ts";
import type { Filled, FillRules } from "./fill.ts";
import type { Growth } from "./growth.ts";
import type { HashPlace } from "./stream-hash.ts";

/**
 * Root filesystems on overlayfs. A *layer* is a committed, read-only directory, known by its DiffID
 * (so that it serves every image that has it, whatever lies below). A *snapshot* is an active,
 * writable directory above a chain of layers, known by a key (a container's ID, a build step).
 */
export interface Layer {
  readonly diffId: Digest;
  /** Bytes of file content. */
  readonly sizeBytes: number;
  /** "archive": its tar is a blob elsewhere. "snapshot": `layerTar` makes its tar, always the same. */
  readonly origin: "archive" | "snapshot";
}

export interface GrowingFile {
  readonly path: string;
  readonly growth: Growth;
  readonly whole: Promise<void>;
}

export interface UnpackOptions {
  readonly diffId?: Digest | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default: "beside". */
  readonly hash?: HashPlace | undefined;
}

export interface UnpackGrowing extends UnpackOptions {
  readonly diffId: Digest;
  readonly signal: AbortSignal;
}

export type ChangeKind = 0 | 1 | 2; // modified, added, deleted: Docker's numbers

export interface SnapshotStore {
  layer(diffId: Digest): Layer | undefined;
  layers(): readonly Layer[];
  /**
   * Unpacks the tar in the file at `path` (plain, gzip, zstd, bzip2, xz) as a layer, off the event loop.
   * With `diffId` the bytes are verified and an already present layer is success at once.
   * @throws "corrupt" | "invalid" (hostile entry) | "exhausted"
   */
  unpack(path: string, options: UnpackOptions): Promise<Layer>;
  /**
   * As `unpack`, of a file that is still being written. The layer is visible once both its own bytes are
   * verified and `whole` is fulfilled, which says so of the file's.
   * @throws "timeout" — it grew too slowly while others waited; "unavailable" — it broke off
   */
  unpackGrowing(file: GrowingFile, options: UnpackGrowing): Promise<Layer>;
  /** The canonical tar of a layer of origin "snapshot"; hashes to its DiffID. */
  layerTar(diffId: Digest): AsyncIterable<Uint8Array>;
  /** @throws "conflict" while a snapshot stands on it. Absent is fine. */
  removeLayer(diffId: Digest): Promise<void>;

  /**
   * Makes an active snapshot above `parents` (lowest first). `volatile`: nobody needs it after a power
   * loss (mount option volatile). An existing key is a "conflict".
   */
  prepare(key: string, parents: readonly Digest[], options?: { volatile?: boolean }): Promise<void>;
  /**
   * Moves a directory into the root of a snapshot that is not mounted, under a name that nothing below
   * has: its files can then be renamed in the mount. False where it is on another file system.
   */
  bring(key: string, directory: string, name: string): Promise<boolean>;
  /**
   * Unmounts the snapshot and unpacks a tar into its writable directory, hashing the layer on the way: see
   * `FillRules`. `timeMax` is the later commit's.
   * @throws "invalid" (hostile entry) | "corrupt" | "exhausted"
   */
  fill(key: string, tar: AsyncIterable<Uint8Array>, options: FillOptions): Promise<Filled>;
  /**
   * Unpacks a layer's tar into the writable directory of a snapshot that is not mounted, its marks for
   * what is gone or replaced as they are: a canonical tar commits to its own DiffID.
   * @throws "invalid" (hostile entry) | "corrupt" | "exhausted"
   */
  lay(key: string, tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /**
   * Mounts the snapshot (if it is not) and returns the path of its root. With `owners` all in there
   * belongs to them, and so does what they make; on the disk it is as in an image. A mount that shows
   * others is replaced: no process may be in it. "any": whatever a mount shows that is there.
   */
  mount(key: string, owners?: OwnerMap | "any"): Promise<string>;
  /** Unmounts; absent or unmounted is fine. Never blocks the event loop. */
  unmount(key: string): Promise<void>;
  /** Unmounts and forgets; absent is fine. Deleting the files goes on in the background. */
  remove(key: string): Promise<void>;
  /** Where a snapshot's directories are; undefined where there is none. */
  folders(key: string): SnapshotFolders | undefined;
  /** Where a layer's files are; undefined where it is absent. */
  layerFolder(diffId: Digest): string | undefined;
  has(key: string): boolean;
  keys(): readonly string[];
  /** The directories that are there by right, by name: the layer's DiffID, the snapshot's key. */
  places(): {
    readonly layers: ReadonlyMap<string, Digest>;
    readonly snapshots: ReadonlyMap<string, string>;
  };
  /**
   * What the writable layer changed against its parents, sorted by path; paths start with "/".
   * `mountPoints`: where something was mounted (absolute paths); the empty files and folders that the
   * runtime made there, and the folders it made for them, are no changes.
   */
  changes(
    key: string,
    options?: { mountPoints?: readonly string[] },
  ): Promise<readonly { path: string; kind: ChangeKind }[]>;
  /** Bytes in the writable layer. */
  usage(key: string): Promise<number>;
  /**
   * Turns the writable layer into a Layer: hashes its canonical tar, off the event loop.
   * "move" consumes the snapshot (build steps); "copy" leaves it going (a container's commit).
   */
  commit(key: string, options: CommitOptions): Promise<Layer>;
  /** Removes what a crash left: half layers, stale mounts, snapshots not in `keys`. Returns what it did. */
  reconcile(keys: ReadonlySet<string>): Promise<string[]>;
}

/** The directories that an overlay is made of, absolute. */
export interface SnapshotFolders {
  /** The topmost first. */
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
  /** Where they are one; undefined while it is not mounted. */
  readonly merged: string | undefined;
}

export interface FillOptions {
  readonly rules: FillRules;
  readonly timeMax: number;
  readonly signal: AbortSignal;
}

export interface CommitOptions {
  readonly how: "move" | "copy";
  /** No modification time in the layer is later: seconds since 1970 (SOURCE_DATE_EPOCH). */
  readonly timeMax?: number;
  /** As in `changes`: what the runtime left there is no part of the layer. */
  readonly mountPoints?: readonly string[];
  /** What `fill` gave, when its listing is known to be right: nothing is hashed again. */
  readonly filled?: Filled | undefined;
}
