import type { Database } from "bun:sqlite";
import { type Descriptor, type Digest, isDigest, parseDigest, parseManifest } from "../oci/mod.ts";
import type { Kept } from "./layers.ts";

/** An index that an image came by, as it came. */
export interface KeptIndex {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

const tables = [
  `CREATE TABLE IF NOT EXISTS image_indexes (id TEXT PRIMARY KEY, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, bytes BLOB NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS image_attached (id TEXT NOT NULL, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (id, digest))`,
  "CREATE TABLE IF NOT EXISTS image_fetched (digest TEXT PRIMARY KEY, at_ms INTEGER NOT NULL)",
  `CREATE TABLE IF NOT EXISTS image_compressed (diff_id TEXT PRIMARY KEY, digest TEXT NOT NULL,
    size INTEGER NOT NULL)`,
];

/** All that a manifest names. */
export function blobsOf(manifest: Uint8Array): readonly Descriptor[] {
  const { config, layers } = parseManifest(manifest);
  return [config, ...layers];
}

/** What was fetched for a pull that failed is kept that long for the next try. */
const fetchedMsMax = 24 * 3_600_000;

/** Digests of compressed layers that are remembered: the last ones. */
const compressedMax = 100_000;

/** What pull and push remember: indexes, what unfinished pulls have brought, digests of compressed layers. */
export class Origins {
  readonly #database: Database;
  readonly #fetched = new Set<Digest>();

  constructor(database: Database) {
    this.#database = database;
    for (const table of tables) database.run(table);
    database.run("DELETE FROM image_fetched WHERE at_ms < ?", [Date.now() - fetchedMsMax]);
    for (const table of ["image_indexes", "image_attached"]) {
      database.run(`DELETE FROM ${table} WHERE id NOT IN (SELECT id FROM image_images)`);
    }
    database.run(
      `DELETE FROM image_compressed WHERE rowid <=
        (SELECT max(rowid) FROM image_compressed) - ${compressedMax}`,
    );
    const rows = database.query<{ digest: string }, []>("SELECT digest FROM image_fetched").all();
    for (const { digest } of rows) if (isDigest(digest)) this.#fetched.add(digest);
  }

  /** Layers and blobs of pulls that have not come to their end. */
  kept(): Kept {
    const rows = this.#database
      .query<{ bytes: Uint8Array }, []>(
        "SELECT bytes FROM image_attached WHERE id IN (SELECT id FROM image_images)",
      )
      .all();
    const attached = rows.flatMap(({ bytes }) => blobsOf(bytes).map(({ digest }) => digest));
    return { layers: this.#fetched, blobs: new Set([...this.#fetched, ...attached]) };
  }

  /** Before the first byte comes: what comes then outlives a crash. */
  begin(digests: readonly Digest[]): void {
    const nowMs = Date.now();
    this.#database.transaction(() => {
      for (const digest of digests) {
        const values = [digest, nowMs];
        this.#database.run("INSERT OR REPLACE INTO image_fetched VALUES (?, ?)", values);
        this.#fetched.add(digest);
      }
    })();
  }

  /** An image has them now. */
  finish(digests: readonly Digest[]): void {
    this.#database.transaction(() => {
      for (const digest of digests) {
        this.#database.run("DELETE FROM image_fetched WHERE digest = ?", [digest]);
        this.#fetched.delete(digest);
      }
    })();
  }

  /** The index that an image came by last. */
  index(id: Digest): KeptIndex | undefined {
    const query = "SELECT digest, media_type, bytes FROM image_indexes WHERE id = ?";
    const found = this.#database
      .query<{ digest: string; media_type: string; bytes: Uint8Array }, [string]>(query)
      .get(id);
    if (!found) return undefined;
    const { digest, media_type: mediaType, bytes } = found;
    return { digest: parseDigest(digest), mediaType, bytes };
  }

  /** What a builder attached to an image: manifests whose blobs are here. */
  attached(id: Digest, digest: Digest): KeptIndex | undefined {
    const query = "SELECT media_type, bytes FROM image_attached WHERE id = ? AND digest = ?";
    const found = this.#database
      .query<{ media_type: string; bytes: Uint8Array }, [string, string]>(query)
      .get(id, digest);
    return found ? { digest, mediaType: found.media_type, bytes: found.bytes } : undefined;
  }

  setAttached(id: Digest, { digest, mediaType, bytes }: KeptIndex): void {
    const values = [id, digest, mediaType, bytes];
    this.#database.run("INSERT OR REPLACE INTO image_attached VALUES (?, ?, ?, ?)", values);
  }

  setIndex(id: Digest, index: KeptIndex | undefined): void {
    if (!index) this.#database.run("DELETE FROM image_indexes WHERE id = ?", [id]);
    else {
      const values = [id, index.digest, index.mediaType, index.bytes];
      this.#database.run("INSERT OR REPLACE INTO image_indexes VALUES (?, ?, ?, ?)", values);
    }
  }

  /** What a layer comes to when it is compressed for a push: always the same. */
  compressed(diffId: Digest): { digest: Digest; sizeBytes: number } | undefined {
    const query = "SELECT digest, size FROM image_compressed WHERE diff_id = ?";
    const found = this.#database
      .query<{ digest: string; size: number }, [string]>(query)
      .get(diffId);
    return found ? { digest: parseDigest(found.digest), sizeBytes: found.size } : undefined;
  }

  setCompressed(
    diffId: Digest,
    { digest, sizeBytes }: { digest: Digest; sizeBytes: number },
  ): void {
    const values = [diffId, digest, sizeBytes];
    this.#database.run("INSERT OR REPLACE INTO image_compressed VALUES (?, ?, ?)", values);
  }
}
