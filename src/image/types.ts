import type {
  Descriptor,
  Digest,
  HistoryEntry,
  ImageConfig,
  Platform,
  RunConfig,
} from "../oci/mod.ts";

/** One image: what an ID (the digest of its config) stands for here. */
export interface Image {
  readonly id: Digest;
  readonly config: ImageConfig;
  /** Names with tag, familiar form: `busybox:latest`. Sorted. */
  readonly tags: readonly string[];
  /** `busybox@sha256:…`: names under which a registry knows its manifest. Sorted. */
  readonly repoDigests: readonly string[];
  /** Bytes of all its layers. */
  readonly sizeBytes: number;
  /** Milliseconds since the epoch of the last tag, import or build here. */
  readonly lastTaggedMs: number;
  /** The image it was built or committed from, when that is known. */
  readonly parent?: Digest;
  /** The manifest that it came with, when it came with one. */
  readonly manifest?: Descriptor;
}

/** What `remove` did, in order, as Docker reports it. */
export type Removal = { readonly untagged: string } | { readonly deleted: string };

/** A line of progress, as the Engine API streams it. */
export interface Progress {
  readonly status?: string;
  readonly stream?: string;
  readonly id?: string;
  readonly progress?: { readonly current: number; readonly total?: number };
  /** What programs read: after a push, the manifest that it put. */
  readonly aux?: { readonly Tag: string; readonly Digest: string; readonly Size: number };
}
export type Report = (progress: Progress) => void;

export interface HistoryRow {
  readonly id: Digest | undefined;
  readonly entry: HistoryEntry;
  readonly sizeBytes: number;
  readonly tags: readonly string[];
}

/** The file that holds a layer. */
export interface LayerFile {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly read: () => AsyncIterable<Uint8Array>;
}

export interface ImageStore {
  list(): readonly Image[];
  /** Name, name@digest, ID or unambiguous ID prefix. @throws "not_found" | "conflict" | "invalid" */
  resolve(reference: string): Image;
  find(reference: string): Image | undefined;
  tag(id: Digest, reference: string): void;
  /**
   * Docker's rmi: a name is untagged; the last one, or an ID, deletes. `users` tells which containers
   * stand on an image.
   * @throws "conflict" with Docker's reasons ("must be forced", "is being used by running container")
   */
  remove(
    reference: string,
    options: {
      force: boolean;
      noPrune: boolean;
      users: (id: Digest) => { id: string; running: boolean }[];
    },
  ): Promise<Removal[]>;
  history(id: Digest): readonly HistoryRow[];
  /** Stores a config whose layers are all here, and gives its ID; idempotent. */
  add(config: ImageConfig, options?: { tags?: readonly string[]; parent?: Digest }): Promise<Image>;
  /**
   * A docker-archive or OCI layout as tar, from a file on disk, compressed or not. Tells the images.
   * `isSpent`: nobody needs the file afterwards; its bytes may be gone, even when the load fails.
   */
  load(
    archivePath: string,
    options: { platform?: Platform; report: Report; signal?: AbortSignal; isSpent?: boolean },
  ): Promise<{ image: Image; tags: readonly string[] }[]>;
  /** The tar that Docker's `save` makes (docker-archive and OCI layout in one). */
  save(references: readonly string[], options?: { platform?: Platform }): AsyncIterable<Uint8Array>;
  /** A layer's file: the plain tar of one that was made here, else as it came. @throws "not_found" */
  layerFile(diffId: Digest): Promise<LayerFile>;
  /** The plain tar of a layer. @throws "not_found" */
  layerTar(diffId: Digest): AsyncIterable<Uint8Array>;
  /** A root filesystem as tar becomes an image of one layer. */
  import(
    archivePath: string,
    options: {
      reference?: string;
      changes: RunConfig;
      message: string;
      platform: Platform;
    },
  ): Promise<Image>;
  /** Adds one layer above an image (or none). */
  commit(options: {
    parent: Image | undefined;
    layer: Digest;
    config: RunConfig;
    reference?: string;
    author: string;
    comment: string;
    createdBy: string;
  }): Promise<Image>;
  /** Deletes dangling images (or all unused); tells what went and how many bytes. */
  prune(options: {
    all: boolean;
    /** Only tells what would go, without what goes along with it. */
    isDry?: boolean;
    filters: ReadonlyMap<string, readonly string[]>;
    users: (id: Digest) => { id: string; running: boolean }[];
  }): Promise<{ removed: Removal[]; reclaimedBytes: number }>;
  /** Why each blob is kept that is: by digest, in words. */
  blobOwners(): ReadonlyMap<string, string>;
  /** Layers and blobs that builds keep though no image has them: their DiffIDs. See `collect`. */
  collect(keep: { layers: ReadonlySet<Digest>; blobs: ReadonlySet<Digest> }): Promise<number>;
  /** Asked before layers and blobs are removed: what builds keep though no image has it. */
  keepAlso(keeper: () => { layers: ReadonlySet<Digest>; blobs: ReadonlySet<Digest> }): void;
  /** Told after each change: action is Docker's event name (tag, untag, delete, load, import). */
  onEvent(listener: (action: string, id: Digest, name: string) => void): void;
}
