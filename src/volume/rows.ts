import type { Database } from "bun:sqlite";
import type { Scope, Volume, VolumeSpec } from "./types.ts";

/** A volume as the table has it. */
export interface VolumeRow extends Omit<Volume, "mountpoint" | "scope"> {
  /** A copy into it began and did not end: what is in it is half of something. */
  readonly isFilling: boolean;
  /** Its removal began: the next start ends it. */
  readonly isGoing: boolean;
}

interface Stored {
  readonly name: string;
  readonly driver: string;
  readonly created_at: string;
  readonly labels: string;
  readonly options: string;
  readonly anonymous: number;
  readonly filling: number;
  readonly going: number;
}

/** The tables of this folder and their copy in memory, which is what is read. */
export class Rows {
  readonly #database: Database;
  readonly #volumes = new Map<string, VolumeRow>();
  /** The containers that have a volume, running or not. */
  readonly users: Pairs;
  /** Those for which its driver mounted it, and did not unmount it yet. */
  readonly mounts: Pairs;
  /** Volumes of plugins, and where they were last. */
  readonly places: Places;

  constructor(database: Database) {
    this.#database = database;
    database.run(`CREATE TABLE IF NOT EXISTS volume_volumes (name TEXT PRIMARY KEY,
      driver TEXT NOT NULL, created_at TEXT NOT NULL, labels TEXT NOT NULL, options TEXT NOT NULL,
      anonymous INTEGER NOT NULL, filling INTEGER NOT NULL, going INTEGER NOT NULL)`);
    database.run(`CREATE TABLE IF NOT EXISTS volume_renames (name TEXT PRIMARY KEY,
      target TEXT NOT NULL)`);
    for (const stored of database.query<Stored, []>("SELECT * FROM volume_volumes").all()) {
      this.#volumes.set(stored.name, rowOf(stored));
    }
    this.users = new Pairs(database, "volume_users");
    this.mounts = new Pairs(database, "volume_mounts");
    this.places = new Places(database);
  }

  all(): VolumeRow[] {
    return [...this.#volumes.values()];
  }

  get(name: string): VolumeRow | undefined {
    return this.#volumes.get(name);
  }

  add(row: VolumeRow): void {
    const { name, driver, createdAt, labels, options, anonymous, isGoing } = row;
    const texts = [JSON.stringify(labels), JSON.stringify(options)] as const;
    this.#database.run("INSERT INTO volume_volumes VALUES (?, ?, ?, ?, ?, ?, 0, ?)", [
      name,
      driver,
      createdAt,
      ...texts,
      Number(anonymous),
      Number(isGoing),
    ]);
    this.#volumes.set(name, row);
  }

  setFilling(name: string, isFilling: boolean): void {
    const change = "UPDATE volume_volumes SET filling = ? WHERE name = ?";
    this.#database.run(change, [Number(isFilling), name]);
    this.#change(name, { isFilling });
  }

  /** Until it is unset, the next start removes the volume: it is half gone, or half made. */
  setGoing(name: string, isGoing: boolean): void {
    this.#database.run("UPDATE volume_volumes SET going = ? WHERE name = ?", [
      Number(isGoing),
      name,
    ]);
    this.#change(name, { isGoing });
  }

  /** Records a rename in one step; until `endRename` its directory may have the old name. */
  rename(name: string, to: string): void {
    const row = this.#volumes.get(name);
    if (!row) return;
    this.#database.transaction(() => {
      this.#database.run("INSERT OR REPLACE INTO volume_renames VALUES (?, ?)", [name, to]);
      this.#database.run("UPDATE volume_volumes SET name = ? WHERE name = ?", [to, name]);
    })();
    this.#volumes.delete(name);
    this.#volumes.set(to, { ...row, name: to });
  }

  renames(): { readonly name: string; readonly to: string }[] {
    const rows = this.#database.query<{ name: string; target: string }, []>(
      "SELECT * FROM volume_renames",
    );
    return rows.all().map(({ name, target }) => ({ name, to: target }));
  }

  endRename(name: string): void {
    this.#database.run("DELETE FROM volume_renames WHERE name = ?", [name]);
  }

  remove(name: string): void {
    this.#database.transaction(() => {
      this.users.drop(name);
      this.mounts.drop(name);
      this.places.drop(name);
      this.#database.run("DELETE FROM volume_volumes WHERE name = ?", [name]);
    })();
    this.#volumes.delete(name);
  }

  #change(name: string, change: Partial<VolumeRow>): void {
    const row = this.#volumes.get(name);
    if (row) this.#volumes.set(name, { ...row, ...change });
  }
}

/** Which containers go with which volumes: a table, and its copy in memory. */
export class Pairs {
  readonly #database: Database;
  readonly #table: string;
  readonly #containers = new Map<string, Set<string>>();

  constructor(database: Database, table: "volume_users" | "volume_mounts") {
    this.#database = database;
    this.#table = table;
    database.run(`CREATE TABLE IF NOT EXISTS ${table} (name TEXT NOT NULL,
      container TEXT NOT NULL, PRIMARY KEY (name, container))`);
    const pairs = database.query<{ name: string; container: string }, []>(`SELECT * FROM ${table}`);
    for (const { name, container } of pairs.all()) this.#setOf(name).add(container);
  }

  of(name: string): string[] {
    return [...(this.#containers.get(name) ?? [])].sort();
  }

  has(name: string, container: string): boolean {
    return this.#containers.get(name)?.has(container) ?? false;
  }

  add(name: string, container: string): void {
    if (this.has(name, container)) return;
    this.#database.run(`INSERT OR IGNORE INTO ${this.#table} VALUES (?, ?)`, [name, container]);
    this.#setOf(name).add(container);
  }

  remove(name: string, container: string): void {
    if (!this.has(name, container)) return;
    const where = `DELETE FROM ${this.#table} WHERE name = ? AND container = ?`;
    this.#database.run(where, [name, container]);
    this.#containers.get(name)?.delete(container);
  }

  drop(name: string): void {
    this.#database.run(`DELETE FROM ${this.#table} WHERE name = ?`, [name]);
    this.#containers.delete(name);
  }

  #setOf(name: string): Set<string> {
    const containers = this.#containers.get(name) ?? new Set();
    this.#containers.set(name, containers);
    return containers;
  }
}

/** What a plugin said of its volumes. */
export class Places {
  readonly #database: Database;
  readonly #places = new Map<string, Place>();

  constructor(database: Database) {
    this.#database = database;
    database.run(`CREATE TABLE IF NOT EXISTS volume_places (name TEXT PRIMARY KEY,
      mountpoint TEXT NOT NULL, scope TEXT NOT NULL)`);
    const places = database.query<{ name: string } & Place, []>("SELECT * FROM volume_places");
    for (const { name, mountpoint, scope } of places.all()) {
      this.#places.set(name, { mountpoint, scope });
    }
  }

  get(name: string): Place | undefined {
    return this.#places.get(name);
  }

  set(name: string, place: Place): void {
    const known = this.#places.get(name);
    if (known?.mountpoint === place.mountpoint && known.scope === place.scope) return;
    const { mountpoint, scope } = place;
    this.#database.run("INSERT OR REPLACE INTO volume_places VALUES (?, ?, ?)", [
      name,
      mountpoint,
      scope,
    ]);
    this.#places.set(name, place);
  }

  drop(name: string): void {
    this.#database.run("DELETE FROM volume_places WHERE name = ?", [name]);
    this.#places.delete(name);
  }
}

export interface Place {
  readonly mountpoint: string;
  readonly scope: Scope;
}

/** A volume that is not in the table yet. */
export function newRow(
  spec: VolumeSpec & { name: string; driver: string },
  createdAt = "",
): VolumeRow {
  const { name, driver, labels = {}, options = {}, anonymous = false } = spec;
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const state = { isFilling: false, isGoing: false };
  return { name, driver, labels, options, anonymous, createdAt: createdAt || now, ...state };
}

function rowOf(stored: Stored): VolumeRow {
  return {
    name: stored.name,
    driver: stored.driver,
    createdAt: stored.created_at,
    labels: JSON.parse(stored.labels) as Record<string, string>,
    options: JSON.parse(stored.options) as Record<string, string>,
    anonymous: stored.anonymous === 1,
    isFilling: stored.filling === 1,
    isGoing: stored.going === 1,
  };
}
