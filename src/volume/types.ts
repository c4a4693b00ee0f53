export interface Volume {
  readonly name: string;
  readonly driver: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly mountpoint: string;
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

export interface VolumeStore {
  list(): readonly Volume[];
  /** @throws "not_found" */
  get(name: string): Volume;
  /** An existing one with the same driver and options is success. @throws "conflict" | "invalid" */
  create(spec: VolumeSpec): Promise<Volume>;
  /** @throws "not_found"; "conflict" — in use, naming the containers */
  remove(name: string, options: { force: boolean }): Promise<void>;
  /** Notes that a container uses it, and makes it ready (mounts `type,o,device`). Idempotent. */
  acquire(name: string, containerId: string): Promise<string>;
  release(name: string, containerId: string): Promise<void>;
  usersOf(name: string): readonly string[];
  /** Bytes on disk, counted off the event loop. */
  usage(name: string): Promise<number>;
  /** Copies what the image has at `source` (a directory inside a rootfs) into an empty volume, once. */
  populate(name: string, rootfs: string, path: string): Promise<void>;
  reconcile(containerIds: ReadonlySet<string>): Promise<string[]>;
}
