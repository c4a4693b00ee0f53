import type { Database } from "bun:sqlite";
import type { Digest } from "../oci/mod.ts";

/** What a step with this key once made. */
export interface CachedStep {
  readonly key: Digest;
  /** The layer that it made; undefined: it changed no file. */
  readonly layer: Digest | undefined;
  /** Another key for the same result, when this one is only a shorter way to it. */
  readonly sameAs?: Digest | undefined;
  readonly description: string;
  readonly createdMs: number;
  readonly usedMs: number;
  /** How long it took to make. */
  readonly costMs: number;
}

/** A folder that `RUN --mount=type=cache` keeps. */
export interface CacheFolder {
  readonly id: string;
  readonly folder: string;
  readonly sizeBytes: number;
  readonly usedMs: number;
}

/** Rows kept at most; the least recently used go first. A row is about 200 bytes. */
const rowsMax = 100_000;
/** A command may be as long as its Dockerfile. */
const descriptionMax = 1_000;

/**
 * Which step made which layer: the tables `build_step` and `build_folder`. It knows no file: whether a
 * layer still exists is for the caller to ask.
 */
export class StepCache {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
    database.run(
      `CREATE TABLE IF NOT EXISTS build_step (key TEXT PRIMARY KEY, layer TEXT, same_as TEXT, description TEXT NOT NULL,
       created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL, cost_ms INTEGER NOT NULL DEFAULT 0)
       WITHOUT ROWID`,
    );
    const columns = database.query<{ name: string }, []>("PRAGMA table_info(build_step)").all();
    if (!columns.some(({ name }) => name === "cost_ms")) {
      database.run("ALTER TABLE build_step ADD COLUMN cost_ms INTEGER NOT NULL DEFAULT 0");
    }
    database.run("CREATE INDEX IF NOT EXISTS build_step_used ON build_step (used_ms)");
    database.run(
      `CREATE INDEX IF NOT EXISTS build_step_layer ON build_step (layer, used_ms)
       WHERE layer IS NOT NULL`,
    );
    database.run(
      `CREATE TABLE IF NOT EXISTS build_folder (id TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE,
       size_bytes INTEGER NOT NULL, used_ms INTEGER NOT NULL) WITHOUT ROWID`,
    );
  }

  find(key: Digest): CachedStep | undefined {
    const row = this.#database
      .query<StepRow, [string]>("SELECT * FROM build_step WHERE key = ?")
      .get(key);
    return row ? stepOf(row) : undefined;
  }

  /** Notes a step. An equal key is replaced. */
  put(step: Omit<CachedStep, "usedMs" | "costMs"> & { readonly costMs?: number }): void {
    this.#database
      .query("INSERT OR REPLACE INTO build_step VALUES (?, ?, ?, ?, ?, ?, ?)")
      .run(
        step.key,
        step.layer ?? null,
        step.sameAs ?? null,
        step.description.slice(0, descriptionMax),
        step.createdMs,
        Date.now(),
        Math.round(step.costMs ?? 0),
      );
  }

  /** Notes that the steps were used now: one write at the end of a build. */
  touch(keys: readonly Digest[]): void {
    const now = Date.now();
    const update = this.#database.query("UPDATE build_step SET used_ms = ? WHERE key = ?");
    this.#database.transaction(() => {
      for (const key of keys) update.run(now, key);
    })();
    this.#database
      .query(
        `DELETE FROM build_step WHERE used_ms < (SELECT used_ms FROM build_step
         ORDER BY used_ms DESC LIMIT 1 OFFSET ?)`,
      )
      .run(rowsMax);
  }

  /** The steps that made layers, least recently used first. */
  list(): CachedStep[] {
    return this.#database
      .query<StepRow, []>(
        `SELECT * FROM build_step INDEXED BY build_step_layer WHERE layer IS NOT NULL
         ORDER BY used_ms, key`,
      )
      .all()
      .map(stepOf);
  }

  /** The steps that made a layer. */
  keysOf(layer: Digest): Digest[] {
    return this.#database
      .query<{ key: string }, [string]>("SELECT key FROM build_step WHERE layer = ?")
      .all(layer)
      .map(({ key }) => key as Digest);
  }

  /** Forgets the steps that changed no file. */
  forgetPlain(): void {
    this.#database.run("DELETE FROM build_step WHERE layer IS NULL");
  }

  /** Every layer that a step names. */
  layers(): Digest[] {
    return this.#database
      .query<{ layer: string }, []>("SELECT DISTINCT layer FROM build_step WHERE layer IS NOT NULL")
      .all()
      .map(({ layer }) => layer as Digest);
  }

  forget(keys: readonly Digest[]): void {
    const remove = this.#database.query("DELETE FROM build_step WHERE key = ?");
    this.#database.transaction(() => {
      for (const key of keys) remove.run(key);
    })();
  }

  folders(): CacheFolder[] {
    return this.#database
      .query<FolderRow, []>("SELECT * FROM build_folder ORDER BY used_ms, id")
      .all()
      .map(({ id, folder, size_bytes: sizeBytes, used_ms: usedMs }) => {
        return { id, folder, sizeBytes, usedMs };
      });
  }

  folder(id: string): CacheFolder | undefined {
    return this.folders().find((folder) => folder.id === id);
  }

  putFolder({ id, folder, sizeBytes }: Omit<CacheFolder, "usedMs">): void {
    this.#database
      .query("INSERT OR REPLACE INTO build_folder VALUES (?, ?, ?, ?)")
      .run(id, folder, sizeBytes, Date.now());
  }

  forgetFolder(id: string): void {
    this.#database.query("DELETE FROM build_folder WHERE id = ?").run(id);
  }
}

interface StepRow {
  readonly key: string;
  readonly layer: string | null;
  readonly same_as: string | null;
  readonly description: string;
  readonly created_ms: number;
  readonly used_ms: number;
  readonly cost_ms: number;
}

interface FolderRow {
  readonly id: string;
  readonly folder: string;
  readonly size_bytes: number;
  readonly used_ms: number;
}

function stepOf(row: StepRow): CachedStep {
  return {
    key: row.key as Digest,
    layer: (row.layer ?? undefined) as Digest | undefined,
    sameAs: (row.same_as ?? undefined) as Digest | undefined,
    description: row.description,
    createdMs: row.created_ms,
    usedMs: row.used_ms,
    costMs: row.cost_ms,
  };
}
