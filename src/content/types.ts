import type { Digest } from "../oci/mod.ts";

/** Bytes by digest. A blob is visible once it is whole and verified, never before. */
export interface ContentStore {
  /**
   * Stores the bytes; success means "it is stored", not "I stored it".
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
  /** Where the blob's file is, for sendfile and for workers; may be absent. Never write to it. */
  path(digest: Digest): string;
  /** Streams a blob, hashing as it reads. @throws "not_found"; "corrupt" at the end of the stream */
  read(digest: Digest): AsyncIterable<Uint8Array>;
  /** A small blob, whole and verified. @throws "not_found" | "corrupt" | "exhausted" */
  bytes(digest: Digest, sizeBytesMax: number): Promise<Uint8Array>;
  /** Forgets a blob. Absent is fine. */
  remove(digest: Digest): Promise<void>;
  list(): AsyncIterable<{ digest: Digest; sizeBytes: number; modifiedMs: number }>;
  /** A new empty folder under `content/ingest`, removed at the next start if it was not removed before. */
  scratch(): Promise<string>;
}
