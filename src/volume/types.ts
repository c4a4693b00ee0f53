import type { OwnerMap } from "../sys/mod.ts";

/** Whether a volume is one machine's, or the same one everywhere: its driver knows. */
export type Scope = "local" | "global";

export interface Volume {
  readonly name: string;
  readonly driver: string;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Of a plugin's volume: where it was last, or "". */
  readonly mountpoint: string;
  readonly scope: Scope;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
}

export interface VolumeSpec {
  /** Absent: a random name of 64 hex digits, and the volume is anonymous. */
  readonly name?: string;
  /** With a name: the caller made that name up, so that it can be found after a crash. */
  readonly anonymous?: boolean;
  readonly driver?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
}

/** The state of a volume that was kept under a name. */
export interface VolumeSnapshot {
  readonly name: string;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** Puts files into an empty directory. */
export type Fill = (directory: string) => Promise<unknown>;

export interface VolumeStore {
  list(): readonly Volume[];
  /** Of all that have a directory, also those that are being removed. */
  names(): readonly string[];
  /** @throws "not_found" */
  get(name: string): Volume;
  /** As `get`, with what its plugin says of it now, and found too when only the plugin knows it. */
  inspect(name: string): Promise<Volume & { readonly status?: unknown }>;
  /** Learns which volumes the plugins have; says what went wrong with which. */
  refresh(): Promise<string[]>;
  /** An existing one of the same driver is success. @throws "conflict" | "invalid" */
  create(spec: VolumeSpec): Promise<Volume>;
  /**
   * Makes a volume with files in it: it is there with all of them, or not at all.
   * @throws "conflict" — the name is taken; or what `fill` throws
   */
  createFilled(spec: VolumeSpec, fill: Fill): Promise<Volume>;
  /** `force` forgets a volume whose plugin is gone. @throws "not_found"; "conflict" — in use */
  remove(name: string, options: { force: boolean }): Promise<void>;
  /** Another name for a volume that no container has. @throws "not_found" | "conflict" */
  rename(name: string, to: string): Promise<Volume>;
  /** Notes that a container has it: nobody can remove it then. Idempotent. */
  acquire(name: string, containerId: string): Promise<void>;
  /** Undoes `acquire`, and `mount`. */
  release(name: string, containerId: string): Promise<void>;
  /** Makes it ready for a container's run (`type,o,device`, or the plugin's way): where it is. */
  mount(name: string, containerId: string): Promise<string>;
  /** The run is over. What nobody else runs with is unmounted. */
  unmount(name: string, containerId: string): Promise<void>;
  /** The containers that have it. */
  usersOf(name: string): readonly string[];
  /** Bytes on disk, counted off the event loop; -1 for a plugin's. */
  usage(name: string): Promise<number>;
  /**
   * Copies what the image has at `path` (a directory inside a rootfs) into an empty volume, once. `owners`:
   * those that the rootfs shows; on the disk the volume has those inside, if it can be mounted with the map.
   */
  populate(
    name: string,
    from: {
      readonly rootfs: string;
      readonly path: string;
      readonly containerId: string;
      readonly owners?: OwnerMap | undefined;
    },
  ): Promise<void>;
  /** Runs `use` with the directory of its files, while it is mounted. */
  withFiles<T>(name: string, use: (directory: string) => Promise<T>): Promise<T>;
  /** A `Fill` with all that a directory has: shared blocks where the file system can, else copies. */
  copyOf(directory: string): Fill;
  snapshots(name: string): readonly VolumeSnapshot[];
  /** Keeps what the volume has now. @throws "conflict" — there is one of that name */
  takeSnapshot(name: string, snapshot: string): Promise<VolumeSnapshot>;
  /** Puts back what a snapshot kept, in one step; the snapshot stays. No container may run with it. */
  restoreSnapshot(name: string, snapshot: string): Promise<void>;
  removeSnapshot(name: string, snapshot: string): Promise<void>;
  reconcile(containerIds: ReadonlySet<string>, running: ReadonlySet<string>): Promise<string[]>;
}
