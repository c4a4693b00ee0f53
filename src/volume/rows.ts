import type { Database } from "bun:sqlite";
import type { Volume } from "./types.ts";

/** A volume as the table has it. */
export interface VolumeRow extends Omit<Volume, "mountpoint"> {
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
  readonly #users = new Map<string, Set<string>>();

  constructor(database: Database) {
    this.#database = database;
    database.run(`CREATE TABLE IF NOT EXISTS volume_volumes (name TEXT PRIMARY KEY,
      driver TEXT NOT NULL, created_at TEXT NOT NULL, labels TEXT NOT NULL, options TEXT NOT NULL,
      anonymous INTEGER NOT NULL, filling INTEGER NOT NULL, going INTEGER NOT NULL)`);
    database.run(`CREATE TABLE IF NOT EXISTS volume_users (name TEXT NOT NULL,
      container TEXT NOT NULL, PRIMARY KEY (name, container))`);
    for (const stored of database.query<Stored, []>("SELECT * FROM volume_volumes").all()) {
      this.#volumes.set(stored.name, rowOf(stored));
    }
    const users = database.query<{ name: string; container: string }, []>(
      "SELECT * FROM volume_users",
    );
    for (const { name, container } of users.all()) this.#use(name).add(container);
  }

  all(): VolumeRow[] {
    return [...this.#volumes.values()];
  }

  get(name: string): VolumeRow | undefined {
    return this.#volumes.get(name);
  }

  add(row: VolumeRow): void {
    const { name, driver, createdAt, labels, options, anonymous } = row;
    const texts = [JSON.stringify(labels), JSON.stringify(options)] as const;
    this.#database.run("INSERT INTO volume_volumes VALUES (?, ?, ?, ?, ?, ?, 0, 0)", [
      name,
      driver,
      createdAt,
      ...texts,
      Number(anonymous),
    ]);
    this.#volumes.set(name, row);
  }

  setFilling(name: string, isFilling: boolean): void {
    const change = "UPDATE volume_volumes SET filling = ? WHERE name = ?";
    this.#database.run(change, [Number(isFilling), name]);
    this.#change(name, { isFilling });
  }

  setGoing(name: string): void {
    this.#database.run("UPDATE volume_volumes SET going = 1 WHERE name = ?", [name]);
    this.#change(name, { isGoing: true });
  }

  remove(name: string): void {
    this.#database.transaction(() => {
      this.#database.run("DELETE FROM volume_users WHERE name = ?", [name]);
      this.#database.run("DELETE FROM volume_volumes WHERE name = ?", [name]);
    })();
    this.#volumes.delete(name);
    this.#users.delete(name);
  }

  users(name: string): string[] {
    return [...(this.#users.get(name) ?? [])].sort();
  }

  addUser(name: string, container: string): void {
    if (this.#users.get(name)?.has(container)) return;
    this.#database.run("INSERT OR IGNORE INTO volume_users VALUES (?, ?)", [name, container]);
    this.#use(name).add(container);
  }

  removeUser(name: string, container: string): void {
    if (!this.#users.get(name)?.has(container)) return;
    const where = "DELETE FROM volume_users WHERE name = ? AND container = ?";
    this.#database.run(where, [name, container]);
    this.#users.get(name)?.delete(container);
  }

  #use(name: string): Set<string> {
    const users = this.#users.get(name) ?? new Set();
    this.#users.set(name, users);
    return users;
  }

  #change(name: string, change: Partial<VolumeRow>): void {
    const row = this.#volumes.get(name);
    if (row) this.#volumes.set(name, { ...row, ...change });
  }
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
