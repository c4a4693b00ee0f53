import type { Database } from "bun:sqlite";
import type { KeyedLock } from "../base/mod.ts";
import type { BlobStore } from "../content/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { Refusal } from "./refusal.ts";
import type { RepositoryId } from "./store-names.ts";

/** A blob as a repository has it. */
export interface BlobRow {
  readonly sizeBytes: number;
  readonly touchedMs: number;
  readonly removedMs: number | null;
}

type Parts = {
  readonly database: Database;
  readonly content: BlobStore;
  readonly locks: KeyedLock;
  /** A touch younger than this is as good as a new one, and costs no write. */
  readonly touchEveryMs: number;
};

export type CheckRoom = (sizeBytes: number) => void;

/** Which repository has which blob. The bytes are in the content store, once. */
export class Blobs {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The row, hidden ones too. */
  row(repository: RepositoryId, digest: Digest): BlobRow | undefined {
    return (
      this.#parts.database
        .query<BlobRow, [number, string]>(
          `SELECT size_bytes AS sizeBytes, touched_ms AS touchedMs, removed_ms AS removedMs
           FROM registry_blob WHERE repository = ? AND digest = ?`,
        )
        .get(repository, digest) ?? undefined
    );
  }

  find(repository: RepositoryId | undefined, digest: Digest): BlobRow | undefined {
    const row = repository === undefined ? undefined : this.row(repository, digest);
    return row?.removedMs === null ? row : undefined;
  }

  /** Notes that a push relies on the blob: the collector leaves it alone for the grace time. */
  touch(repository: RepositoryId, digest: Digest, row: BlobRow): void {
    const now = Date.now();
    if (now - row.touchedMs < this.#parts.touchEveryMs) return;
    this.#parts.database
      .query("UPDATE registry_blob SET touched_ms = ? WHERE repository = ? AND digest = ?")
      .run(now, repository, digest);
  }

  /** Gives the blob to a repository. To call under the digest's lock, when its bytes are stored. */
  link(repository: RepositoryId, digest: Digest, sizeBytes: number): void {
    this.#parts.database
      .query(
        `INSERT INTO registry_blob (repository, digest, size_bytes, touched_ms) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET touched_ms = excluded.touched_ms, removed_ms = NULL`,
      )
      .run(repository, digest, sizeBytes, Date.now());
  }

  /**
   * Takes a whole, verified file into the store and gives it to the repository. `checkRoom` throws when
   * the repository may not have so much more; what others brought meanwhile counts.
   */
  async adopt(
    repository: RepositoryId,
    digest: Digest,
    { path, sizeBytes, checkRoom }: { path: string; sizeBytes: number; checkRoom?: CheckRoom },
  ): Promise<void> {
    await this.#parts.locks.run(digest, async () => {
      if (!this.find(repository, digest)) checkRoom?.(sizeBytes); // before the bytes move
      await this.#parts.content.adopt(path, { expected: digest, trusted: true });
      if (!this.find(repository, digest)) checkRoom?.(sizeBytes);
      this.link(repository, digest, sizeBytes);
    });
  }

  /** Gives a blob that repository `from` has to `to` as well; false when `from` lacks it. */
  async mount(
    { from, to, checkRoom }: { from: RepositoryId; to: RepositoryId; checkRoom: CheckRoom },
    digest: Digest,
  ): Promise<boolean> {
    return await this.#parts.locks.run(digest, () => {
      const row = this.find(from, digest);
      if (row && !this.find(to, digest)) checkRoom(row.sizeBytes);
      if (row) this.link(to, digest, row.sizeBytes);
      return row !== undefined;
    });
  }

  /**
   * Hides a blob from its repository; the bytes stay for the grace time, so that a push that has seen
   * the blob can still refer to it.
   * @throws Refusal BLOB_UNKNOWN; UNSUPPORTED — a manifest refers to it
   */
  hide(repository: RepositoryId, digest: Digest): void {
    if (!this.find(repository, digest)) throw unknownBlob(digest);
    const user = this.#parts.database
      .query<{ parent: string }, [number, string]>(
        `SELECT e.parent FROM registry_edge e
         JOIN registry_manifest m ON m.repository = e.repository AND m.digest = e.parent
         WHERE e.repository = ? AND e.child = ? AND e.kind = 'blob' AND m.removed_ms IS NULL LIMIT 1`,
      )
      .get(repository, digest);
    if (user) {
      throw new Refusal("UNSUPPORTED", `Cannot delete blob ${digest}: a manifest refers to it`, {
        detail: { manifest: user.parent },
        hint: "Delete the manifest; the collector removes what nothing refers to",
      });
    }
    this.#parts.database
      .query("UPDATE registry_blob SET removed_ms = ? WHERE repository = ? AND digest = ?")
      .run(Date.now(), repository, digest);
  }

  /** Bytes that count for a repository: its blobs and manifests. */
  sizeOf(repository: RepositoryId): number {
    const sum = (table: string) =>
      this.#parts.database
        .query<{ sum: number | null }, [number]>(
          `SELECT sum(size_bytes) AS sum FROM ${table} WHERE repository = ? AND removed_ms IS NULL`,
        )
        .get(repository)?.sum ?? 0;
    return sum("registry_blob") + sum("registry_manifest");
  }
}

export function unknownBlob(digest: Digest): Refusal {
  const message = `Cannot find blob ${digest} in this repository`;
  return new Refusal("BLOB_UNKNOWN", message, { detail: { digest } });
}
