import type { Digest } from "../oci/mod.ts";

/** The bytes from `first` to `last`, both included. */
export interface Part {
  readonly first: number;
  readonly last: number;
}

export interface Listed {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Another store has the same file: to remove it here frees no room. */
  readonly isShared: boolean;
}

/** Bytes by digest, wherever they are. A blob is visible once it is whole and verified, never before. */
export interface BlobStore {
  /**
   * Stores the bytes under `expected`, or by sha256; success means "it is stored", not "I stored it".
   * @throws Failure "corrupt" — the bytes hash to something else than `expected`
   * @throws Failure "exhausted" — more than `sizeBytesMax`, or no space left
   */
  put(
    bytes: AsyncIterable<Uint8Array>,
    options: { expected?: Digest; sizeBytesMax: number },
  ): Promise<{ digest: Digest; sizeBytes: number }>;
  /**
   * Takes a whole file that is on the same file system, by rename; hashed unless `trusted`. With
   * `sync: "later"` a power loss within the next seconds may cost the bytes, which `read` then tells;
   * a crash of the process never does.
   */
  adopt(
    path: string,
    options: { expected?: Digest; trusted?: true; sync?: "later" },
  ): Promise<Digest>;
  /** Size in bytes, or undefined when absent. */
  size(digest: Digest): Promise<number | undefined>;
  /** A blob that is here, or a part of it, as the body of an answer: not verified. */
  body(digest: Digest, part?: Part): Blob | ReadableStream<Uint8Array>;
  /** An address where whoever has it may get the blob for a while; absent: there is none. */
  link?(digest: Digest): string;
  /** Streams a blob, hashing as it reads. @throws "not_found"; "corrupt" at the end of the stream */
  read(digest: Digest): AsyncIterable<Uint8Array>;
  /** A small blob, whole and verified. @throws "not_found" | "corrupt" | "exhausted" */
  bytes(digest: Digest, sizeBytesMax: number): Promise<Uint8Array>;
  /** Forgets a blob. Absent is fine. */
  remove(digest: Digest): Promise<void>;
  list(): AsyncIterable<Listed>;
}

/** Blobs as files on this host. */
export interface ContentStore extends BlobStore {
  /** Where the blob's file is, for sendfile and for workers; may be absent. Never write to it. */
  path(digest: Digest): string;
  /** A new empty folder under `content/ingest`, removed at the next start if it was not removed before. */
  scratch(): Promise<string>;
}
