import type { Database } from "bun:sqlite";
import type { Digest } from "../oci/mod.ts";
import type { Layer } from "./types.ts";

/** A layer as the tables have it. */
export interface LayerRow extends Layer {
  readonly id: number;
  /** For origin "snapshot": no time in its tar is later (seconds since 1970). */
  readonly timeMax: number | undefined;
  /** It has an entry for the root: who stands on it takes the root's owner and mode from it. */
  readonly hasRoot: boolean;
  /** The boot of the machine that made it, until its files were synced: a crash may have cut them. */
  readonly boot: string | undefined;
}

/** A snapshot as the tables have it. */
export interface SnapshotRow {
  readonly id: number;
  readonly key: string;
  readonly parents: readonly Digest[];
  readonly isVolatile: boolean;
  /** Owner and mode of the root as it was made. */
  readonly root: string;
}

const schema = `
  CREATE TABLE IF NOT EXISTS snapshot_layers (
    diff_id TEXT PRIMARY KEY, id INTEGER NOT NULL UNIQUE, size_bytes INTEGER NOT NULL,
    origin TEXT NOT NULL, time_max INTEGER, has_root INTEGER NOT NULL, boot TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS snapshot_active (
    key TEXT PRIMARY KEY, id INTEGER NOT NULL UNIQUE, parents TEXT NOT NULL,
    is_volatile INTEGER NOT NULL, root TEXT NOT NULL
  ) STRICT;`;

interface RawLayer {
  diff_id: Digest;
  id: number;
  size_bytes: number;
  origin: "archive" | "snapshot";
  time_max: number | null;
  has_root: number;
  boot: string | null;
}
interface RawSnapshot {
  key: string;
  id: number;
  parents: string;
  is_volatile: number;
  root: string;
}

/** The tables of this folder, whole in memory too: questions are answered without the disk. */
export class Rows {
  readonly #database: Database;
  readonly layers = new Map<Digest, LayerRow>();
  readonly snapshots = new Map<string, SnapshotRow>();
  #lastId = 0;

  constructor(database: Database) {
    this.#database = database;
    database.run(schema);
    for (const raw of database.query<RawLayer, []>("SELECT * FROM snapshot_layers").all()) {
      this.layers.set(raw.diff_id, {
        id: raw.id,
        diffId: raw.diff_id,
        sizeBytes: raw.size_bytes,
        origin: raw.origin,
        timeMax: raw.time_max ?? undefined,
        hasRoot: raw.has_root === 1,
        boot: raw.boot ?? undefined,
      });
      this.reserve(raw.id);
    }
    for (const raw of database.query<RawSnapshot, []>("SELECT * FROM snapshot_active").all()) {
      const parents = raw.parents === "" ? [] : (raw.parents.split(",") as Digest[]);
      const { id, key, root } = raw;
      this.snapshots.set(key, { id, key, parents, root, isVolatile: raw.is_volatile === 1 });
      this.reserve(id);
    }
  }

  /** No new directory gets this number or one below it. */
  reserve(id: number): void {
    this.#lastId = Math.max(this.#lastId, id);
  }

  /** A number that no directory has. */
  nextId(): number {
    return ++this.#lastId;
  }

  addLayer(layer: LayerRow): void {
    this.#database
      .query("INSERT INTO snapshot_layers VALUES (?, ?, ?, ?, ?, ?, ?)")
      .run(
        layer.diffId,
        layer.id,
        layer.sizeBytes,
        layer.origin,
        layer.timeMax ?? null,
        layer.hasRoot ? 1 : 0,
        layer.boot ?? null,
      );
    this.layers.set(layer.diffId, layer);
  }

  removeLayer(diffId: Digest): void {
    this.#database.query("DELETE FROM snapshot_layers WHERE diff_id = ?").run(diffId);
    this.layers.delete(diffId);
  }

  /** Says that these layers are on the disk for good. */
  settle(diffIds: readonly Digest[]): void {
    const update = this.#database.query("UPDATE snapshot_layers SET boot = NULL WHERE diff_id = ?");
    this.#database.transaction(() => {
      for (const diffId of diffIds) update.run(diffId);
    })();
    for (const diffId of diffIds) {
      const layer = this.layers.get(diffId);
      if (layer) this.layers.set(diffId, { ...layer, boot: undefined });
    }
  }

  addSnapshot(snapshot: SnapshotRow): void {
    const { key, id, parents, isVolatile, root } = snapshot;
    this.#database
      .query("INSERT INTO snapshot_active VALUES (?, ?, ?, ?, ?)")
      .run(key, id, parents.join(","), isVolatile ? 1 : 0, root);
    this.snapshots.set(key, snapshot);
  }

  removeSnapshot(key: string): void {
    this.#database.query("DELETE FROM snapshot_active WHERE key = ?").run(key);
    this.snapshots.delete(key);
  }

  /** A snapshot becomes a layer in one step. */
  turnIntoLayer(key: string, layer: LayerRow): void {
    this.#database.transaction(() => {
      this.addLayer(layer);
      this.removeSnapshot(key);
    })();
  }

  /** The snapshots that stand on a layer. */
  standingOn(diffId: Digest): string[] {
    return [...this.snapshots.values()]
      .filter(({ parents }) => parents.includes(diffId))
      .map(({ key }) => key);
  }
}
