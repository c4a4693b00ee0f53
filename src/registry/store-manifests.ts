import type { Database } from "bun:sqlite";
import { type KeyedLock, limits } from "../base/mod.ts";
import type { BlobStore } from "../content/mod.ts";
import type { Descriptor, Digest } from "../oci/mod.ts";
import { Refusal } from "./refusal.ts";
import type { BlobRow, Blobs } from "./store-blobs.ts";
import { BytesCache } from "./store-bytes-cache.ts";
import type { ManifestFacts } from "./store-manifest-facts.ts";
import type { Names, RepositoryId } from "./store-names.ts";

export interface ManifestRow {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly artifactType: string | null;
  readonly subject: Digest | null;
  readonly annotations: string | null;
  readonly pushedMs: number;
  readonly removedMs: number | null;
}

type Parts = {
  readonly database: Database;
  readonly content: BlobStore;
  readonly locks: KeyedLock;
  readonly names: Names;
  readonly blobs: Blobs;
};

type Inserted = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly facts: ManifestFacts;
  readonly isCached: boolean;
};

const columns = `digest, media_type AS mediaType, size_bytes AS sizeBytes,
  artifact_type AS artifactType, subject, annotations, pushed_ms AS pushedMs, removed_ms AS removedMs`;

/** Manifests and indexes by repository and digest. Their bytes are blobs of the content store. */
export class Manifests {
  readonly #parts: Parts;
  readonly #cache = new BytesCache(16 << 20);

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The row, hidden ones too. */
  row(repository: RepositoryId, digest: Digest): ManifestRow | undefined {
    return (
      this.#parts.database
        .query<ManifestRow, [number, string]>(
          `SELECT ${columns} FROM registry_manifest WHERE repository = ? AND digest = ?`,
        )
        .get(repository, digest) ?? undefined
    );
  }

  find(repository: RepositoryId | undefined, digest: Digest): ManifestRow | undefined {
    const row = repository === undefined ? undefined : this.row(repository, digest);
    return row?.removedMs === null ? row : undefined;
  }

  /** The bytes, verified when they were read from disk. @throws "not_found" | "corrupt" */
  async bytes(digest: Digest): Promise<Uint8Array> {
    const cached = this.#cache.get(digest);
    if (cached) return cached;
    const bytes = await this.#parts.content.bytes(digest, limits.manifestBytesMax);
    this.#cache.put(digest, bytes);
    return bytes;
  }

  /** Drops the bytes from memory: they have left the store. */
  forget(digest: Digest): void {
    this.#cache.remove(digest);
  }

  /**
   * Stores a manifest, verified and all of whose parts the repository has, and points `tags` at it. When a part is
   * hidden because it was deleted meanwhile, it is there again. With `isCached`, the parts may be
   * elsewhere: they come when somebody wants them.
   * @throws Refusal MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID
   */
  async put(
    repository: RepositoryId,
    { bytes, digest }: { bytes: Uint8Array; digest: Digest },
    {
      facts,
      tags,
      who,
      isCached = false,
    }: { facts: ManifestFacts; tags: readonly string[]; who: string; isCached?: boolean },
  ): Promise<void> {
    if (!isCached) this.#checkParts(repository, facts); // first without writing anything
    await this.#parts.locks.run(digest, async () => {
      if ((await this.#parts.content.size(digest)) !== bytes.length) {
        await this.#parts.content.put(once(bytes), {
          expected: digest,
          sizeBytesMax: bytes.length,
        });
      }
      this.#parts.database.transaction(() => {
        if (!isCached) this.#checkParts(repository, facts); // the collector may have run meanwhile
        this.#insert(repository, { digest, sizeBytes: bytes.length, facts, isCached });
        for (const tag of tags) this.#parts.names.move(repository, tag, { digest, who });
      })();
    });
    this.#cache.put(digest, bytes);
  }

  /**
   * Hides a manifest and removes the tags that point at it.
   * @throws Refusal MANIFEST_UNKNOWN; UNSUPPORTED — an index refers to it
   */
  hide(repository: RepositoryId, digest: Digest, who: string): { tags: string[] } {
    if (!this.find(repository, digest)) throw unknownManifest(digest);
    const user = this.#parents(repository, digest)[0];
    if (user) {
      throw new Refusal("UNSUPPORTED", `Cannot delete manifest ${digest}: an index refers to it`, {
        detail: { index: user },
        hint: "Delete the index first",
      });
    }
    const tags = this.#parts.names.tagsOf(repository, digest);
    this.#parts.database.transaction(() => {
      for (const tag of tags) this.#parts.names.move(repository, tag, { digest: null, who });
      this.#parts.database
        .query("UPDATE registry_manifest SET removed_ms = ? WHERE repository = ? AND digest = ?")
        .run(Date.now(), repository, digest);
    })();
    return { tags };
  }

  /** Shows a hidden manifest again, with all that it refers to. To call in a transaction. */
  revive(repository: RepositoryId, digest: Digest): void {
    const { database } = this.#parts;
    database
      .query("UPDATE registry_manifest SET removed_ms = NULL WHERE repository = ? AND digest = ?")
      .run(repository, digest);
    const children = database
      .query<{ child: Digest; kind: string }, [number, string]>(
        "SELECT child, kind FROM registry_edge WHERE repository = ? AND parent = ?",
      )
      .all(repository, digest);
    for (const { child, kind } of children) {
      const row = kind === "manifest" ? this.row(repository, child) : undefined;
      if (row && row.removedMs !== null) this.revive(repository, child);
      database
        .query("UPDATE registry_blob SET removed_ms = NULL WHERE repository = ? AND digest = ?")
        .run(repository, child);
    }
  }

  /** Manifests whose subject is `subject`, by digest, after `last`. */
  referrers(
    repository: RepositoryId,
    subject: Digest,
    page: { artifactType: string | null; last: string; countMax: number },
  ): ManifestRow[] {
    return this.#parts.database
      .query<ManifestRow, [number, string, string, string | null, string | null, number]>(
        `SELECT ${columns} FROM registry_manifest
         WHERE repository = ? AND subject = ? AND digest > ? AND removed_ms IS NULL
           AND (? IS NULL OR artifact_type = ?) ORDER BY digest LIMIT ?`,
      )
      .all(repository, subject, page.last, page.artifactType, page.artifactType, page.countMax);
  }

  /** Bytes of a manifest and of all that it refers to, each blob once. */
  sizeOf(repository: RepositoryId, digest: Digest): number {
    const found = this.#parts.database
      .query<{ sum: number | null }, [{ $repository: number; $digest: string }]>(
        `WITH RECURSIVE part (digest) AS (
           SELECT $digest UNION SELECT e.child FROM registry_edge e
           JOIN part p ON e.parent = p.digest WHERE e.repository = $repository LIMIT 10000)
         SELECT sum(coalesce(
           (SELECT size_bytes FROM registry_blob
            WHERE repository = $repository AND digest = part.digest),
           (SELECT size_bytes FROM registry_manifest
            WHERE repository = $repository AND digest = part.digest), 0)) AS sum FROM part`,
      )
      .get({ $repository: repository, $digest: digest });
    return found?.sum ?? 0;
  }

  #parents(repository: RepositoryId, digest: Digest): string[] {
    return this.#parts.database
      .query<{ parent: string }, [number, string]>(
        `SELECT e.parent FROM registry_edge e
         JOIN registry_manifest m ON m.repository = e.repository AND m.digest = e.parent
         WHERE e.repository = ? AND e.child = ? AND e.kind = 'manifest' AND m.removed_ms IS NULL
         LIMIT 1`,
      )
      .all(repository, digest)
      .map(({ parent }) => parent);
  }

  #checkParts(repository: RepositoryId, { blobs, manifests }: ManifestFacts): void {
    const missing: string[] = [];
    const check = (part: Descriptor, row: Pick<BlobRow, "sizeBytes"> | undefined) => {
      if (!row) missing.push(part.digest);
      else if (row.sizeBytes !== part.size) {
        const sizes = `${part.size} bytes are said, ${row.sizeBytes} are here`;
        throw new Refusal(
          "MANIFEST_INVALID",
          `Cannot take the manifest: of ${part.digest} ${sizes}`,
        );
      }
    };
    for (const part of blobs) check(part, this.#parts.blobs.row(repository, part.digest));
    for (const part of manifests) check(part, this.row(repository, part.digest));
    if (missing.length === 0) return;
    const message = `Cannot take the manifest: ${missing[0]} is not in this repository`;
    const detail = missing.slice(0, 20).map((digest) => ({ digest }));
    throw new Refusal("MANIFEST_BLOB_UNKNOWN", message, { detail });
  }

  #insert(repository: RepositoryId, { digest, sizeBytes, facts, isCached }: Inserted): void {
    const { database } = this.#parts;
    const now = Date.now();
    database
      .query(
        `INSERT INTO registry_manifest (repository, digest, media_type, size_bytes, artifact_type,
           subject, annotations, pushed_ms, touched_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET touched_ms = excluded.touched_ms, removed_ms = NULL,
           media_type = excluded.media_type`,
      )
      .run(
        repository,
        digest,
        facts.mediaType,
        sizeBytes,
        facts.artifactType ?? null,
        facts.subject ?? null,
        facts.annotations ? JSON.stringify(facts.annotations) : null,
        now,
        now,
      );
    const edge = database.query("INSERT OR IGNORE INTO registry_edge VALUES (?, ?, ?, ?)");
    const kind = isCached ? "cached " : "";
    for (const part of facts.blobs) edge.run(repository, digest, part.digest, `${kind}blob`);
    for (const part of facts.manifests)
      edge.run(repository, digest, part.digest, `${kind}manifest`);
    this.revive(repository, digest);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

export function unknownManifest(reference: string): Refusal {
  const message = `Cannot find manifest ${reference} in this repository`;
  return new Refusal("MANIFEST_UNKNOWN", message, { detail: { reference } });
}
