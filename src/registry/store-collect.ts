import type { Digest } from "../oci/mod.ts";
import type { RepositoryId } from "./store-names.ts";
import type { RegistryStore } from "./store-open.ts";

/** One thing that the collector removes, or would. */
export interface Collected {
  readonly what: "upload" | "manifest" | "link" | "blob" | "repository";
  readonly repository?: string;
  /** A digest, or an upload's id. */
  readonly id: string;
  readonly sizeBytes: number;
  readonly why: string;
}

export interface CollectReport {
  readonly isDryRun: boolean;
  /** What stays in the content store and what leaves it. */
  readonly kept: { blobs: number; sizeBytes: number };
  readonly removed: {
    blobs: number;
    sizeBytes: number;
    /** Of them, what the engine beside has as well: its room is not free. */
    sharedBytes: number;
  };
  readonly links: number;
  readonly manifests: number;
  readonly uploads: number;
  /** The first of them; `isCut` when there are more. */
  readonly details: readonly Collected[];
  readonly isCut: boolean;
}

export interface CollectOptions {
  readonly dryRun?: boolean;
  readonly graceMs?: number;
  readonly historyMs?: number;
}

type Cutoffs = { readonly graceMs: number; readonly historyMs: number; readonly uploadMs: number };
type Page = {
  $after: number;
  $afterDigest: string;
  $grace: number;
  $history: number;
  $count: number;
};

const pageRows = 200;
const detailsMax = 10_000;

/** A manifest row that stays: shown, deleted too short a time ago, or where a tag was not long ago. */
const manifestStays = (m: string) => `(${m}.removed_ms IS NULL OR ${m}.removed_ms >= $history)`;

/** A blob row that stays: a push may rely on it, or a manifest that stays refers to it. */
const linkStays = `(b.touched_ms >= $grace OR EXISTS (
  SELECT 1 FROM registry_edge e
  JOIN registry_manifest m ON m.repository = e.repository AND m.digest = e.parent
  WHERE e.repository = b.repository AND e.child = b.digest AND ${manifestStays("m")}))`;

/**
 * Removes what nobody needs, while the registry serves: uploads that were given up, manifests deleted
 * long ago, blobs that no manifest refers to and no push has touched for the grace time, and bytes that
 * no row is left for. Each row is looked at again in the statement that deletes it, and bytes go under
 * their digest's lock, which whoever stores them holds as well: a push never loses what it needs.
 */
export async function collect(
  store: RegistryStore,
  options: CollectOptions = {},
): Promise<CollectReport> {
  return await store.locks.run("collect", () => new Collection(store, options).run());
}

class Collection {
  readonly #store: RegistryStore;
  readonly #isDryRun: boolean;
  readonly #before: Cutoffs;
  readonly #details: Collected[] = [];
  readonly #counts = { upload: 0, manifest: 0, link: 0, blob: 0, repository: 0 };

  constructor(store: RegistryStore, options: CollectOptions) {
    const now = Date.now();
    const { bounds } = store;
    this.#store = store;
    this.#isDryRun = options.dryRun ?? false;
    this.#before = {
      graceMs: now - (options.graceMs ?? bounds.graceMs),
      historyMs: now - (options.historyMs ?? bounds.historyMs),
      uploadMs: now - bounds.uploadMs,
    };
  }

  async run(): Promise<CollectReport> {
    await this.#uploads();
    await this.#manifests();
    await this.#links();
    const { kept, removed } = await this.#bytes();
    this.#repositories();
    const { upload: uploads, manifest: manifests, link: links } = this.#counts;
    const all = Object.values(this.#counts).reduce((sum, count) => sum + count);
    return {
      ...{ isDryRun: this.#isDryRun, kept, removed, links, manifests, uploads },
      details: this.#details,
      isCut: all > this.#details.length,
    };
  }

  #note(one: Collected): void {
    this.#counts[one.what]++;
    if (this.#details.length < detailsMax) this.#details.push(one);
  }

  async #uploads(): Promise<void> {
    for (const { id, name } of this.#store.uploads.expired(this.#before.uploadMs)) {
      const sizeBytes = await this.#store.uploads.sizeOf(id).catch(() => 0); // ended meanwhile
      if (!this.#isDryRun) await this.#store.uploads.cancel(id);
      this.#note({
        what: "upload",
        repository: name,
        id,
        sizeBytes,
        why: "nobody went on with it",
      });
    }
  }

  /** Rows in pages, so that requests are answered between them. */
  async #pages(
    from: string,
    isGone: string,
    take: (row: { id: RepositoryId; name: string; digest: Digest; sizeBytes: number }) => boolean,
  ): Promise<void> {
    const page = this.#store.database.query<
      { id: RepositoryId; name: string; digest: Digest; sizeBytes: number },
      [Page]
    >(`SELECT r.id, r.name, b.digest, b.size_bytes AS sizeBytes FROM ${from} b
       JOIN registry_repository r ON r.id = b.repository
       WHERE (b.repository, b.digest) > ($after, $afterDigest) AND ${isGone}
       ORDER BY b.repository, b.digest LIMIT $count`);
    let at: { id: number; digest: string } = { id: 0, digest: "" };
    for (;;) {
      const rows = page.all({
        $after: at.id,
        $afterDigest: at.digest,
        $grace: this.#before.graceMs,
        $history: this.#before.historyMs,
        $count: pageRows,
      });
      this.#store.database.transaction(() => {
        for (const row of rows) take(row);
      })();
      if (rows.length < pageRows) return;
      at = rows.at(-1)!;
      await turn();
    }
  }

  async #manifests(): Promise<void> {
    const { database } = this.#store;
    const gone = `NOT ${manifestStays("b")}`;
    await this.#pages("registry_manifest", gone, ({ id, name, digest, sizeBytes }) => {
      if (!this.#isDryRun) {
        const key = { $id: id, $digest: digest, $history: this.#before.historyMs };
        const { changes } = database
          .query(
            `DELETE FROM registry_manifest AS b
             WHERE b.repository = $id AND b.digest = $digest AND ${gone}`,
          )
          .run(key);
        if (changes === 0) return false;
        database
          .query("DELETE FROM registry_edge WHERE repository = ? AND parent = ?")
          .run(id, digest);
      }
      const why = "deleted, and older than the history that is kept";
      this.#note({ what: "manifest", repository: name, id: digest, sizeBytes, why });
      return true;
    });
  }

  async #links(): Promise<void> {
    const { database } = this.#store;
    await this.#pages("registry_blob", `NOT ${linkStays}`, ({ id, name, digest, sizeBytes }) => {
      if (!this.#isDryRun) {
        const { graceMs: $grace, historyMs: $history } = this.#before;
        const { changes } = database
          .query(
            `DELETE FROM registry_blob AS b
             WHERE b.repository = $id AND b.digest = $digest AND NOT ${linkStays}`,
          )
          .run({ $id: id, $digest: digest, $grace, $history });
        if (changes === 0) return false;
      }
      const why = "no manifest refers to it, and no push has touched it for the grace time";
      this.#note({ what: "link", repository: name, id: digest, sizeBytes, why });
      return true;
    });
  }

  async #bytes(): Promise<Pick<CollectReport, "kept" | "removed">> {
    const { content, locks } = this.#store;
    const kept = { blobs: 0, sizeBytes: 0 };
    const removed = { blobs: 0, sizeBytes: 0, sharedBytes: 0 };
    for await (const { digest, sizeBytes, modifiedMs, isShared } of content.list()) {
      const isGone = await locks.run(digest, () => this.#removeBytes(digest, modifiedMs));
      const sum = isGone ? removed : kept;
      sum.blobs++;
      sum.sizeBytes += sizeBytes;
      if (!isGone) continue;
      if (isShared) removed.sharedBytes += sizeBytes;
      const why = `no repository has it${isShared ? "; its room stays taken, the engine has it" : ""}`;
      this.#note({ what: "blob", id: digest, sizeBytes, why });
    }
    return { kept, removed };
  }

  /** Under the digest's lock: nobody stores these bytes meanwhile. */
  async #removeBytes(digest: Digest, modifiedMs: number): Promise<boolean> {
    if (modifiedMs >= this.#before.graceMs || this.#isNeeded(digest)) return false;
    if (this.#isDryRun) return true;
    await this.#store.content.remove(digest);
    this.#store.manifests.forget(digest);
    return true;
  }

  #isNeeded(digest: Digest): boolean {
    // In a dry run the rows that would go are still there.
    const link = this.#isDryRun ? linkStays : "1";
    const manifest = this.#isDryRun ? manifestStays("m") : "1";
    const { graceMs: $grace, historyMs: $history } = this.#before;
    const found = this.#store.database
      .query<{ needed: number }, [{ $digest: string; $grace: number; $history: number }]>(
        `SELECT 1 AS needed WHERE
           EXISTS (SELECT 1 FROM registry_blob b WHERE b.digest = $digest AND ${link})
           OR EXISTS (SELECT 1 FROM registry_manifest m WHERE m.digest = $digest AND ${manifest})`,
      )
      .get({ $digest: digest, $grace, $history });
    return found !== null;
  }

  /** Repositories that hold nothing and whose tags never were anywhere. */
  #repositories(): void {
    if (this.#isDryRun) return;
    const holds = ["blob", "manifest", "upload", "tag"].map(
      (table) => `NOT EXISTS (SELECT 1 FROM registry_${table} x WHERE x.repository = r.id)`,
    );
    const { historyMs } = this.#before;
    this.#store.database.transaction(() => {
      const empty = this.#store.database
        .query<{ id: number; name: string }, [number]>(
          `SELECT id, name FROM registry_repository r WHERE ${holds.join(" AND ")}
             AND r.created_ms < ?1 AND NOT EXISTS
               (SELECT 1 FROM registry_move v WHERE v.repository = r.id AND v.at_ms >= ?1) LIMIT 1000`,
        )
        .all(historyMs);
      for (const { id, name } of empty) {
        this.#store.database.query("DELETE FROM registry_move WHERE repository = ?").run(id);
        this.#store.database.query("DELETE FROM registry_repository WHERE id = ?").run(id);
        this.#note({ what: "repository", repository: name, id: name, sizeBytes: 0, why: "empty" });
      }
    })();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
