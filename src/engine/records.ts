import type { Database } from "bun:sqlite";
import { Failure } from "../base/mod.ts";
import type { IdMap } from "../sys/mod.ts";
import { makeName, parseName } from "./names.ts";
import type { MountPlan } from "./plan.ts";
import type { Container, ContainerState } from "./types.ts";

/**
 * How far a container is, for whoever comes after a crash:
 * "creating": its parts may be half there; it goes. "starting" and "running": the runtime may have a
 * process for it. "idle": it has none, and what the runtime or the network still keep is a leftover.
 */
export type Phase = "creating" | "idle" | "starting" | "running";

/** What the table holds of a container besides what users see. */
export interface Inside {
  readonly phase: Phase;
  readonly mounts: readonly MountPlan[];
  /** The last wait before a restart; doubles. */
  readonly restartDelayMs: number;
  /** Whose users it has, or had when it ran last; absent: the host's. */
  readonly owners?: IdMap | undefined;
}

type Entry = { readonly container: Container; readonly inside: Inside };
type Change = Partial<Omit<Container, "id" | "name" | "state">> & {
  readonly state?: Partial<ContainerState>;
};

const shortestPrefix = 1;

/** A container whose data root was moved: its paths below the data root lead to the new one. */
function movedTo(container: Container, directory: string): Container {
  const logDirectory = `${directory}/logs/${container.id}`;
  if (container.logDirectory === logDirectory) return container;
  const before = container.logDirectory.slice(0, -`/engine/logs/${container.id}`.length);
  const root = directory.slice(0, -"/engine".length);
  const mounts = container.mounts.map((mount) =>
    mount.Type === "volume" && mount.Source.startsWith(`${before}/`)
      ? { ...mount, Source: root + mount.Source.slice(before.length) }
      : mount,
  );
  return { ...container, logDirectory, mounts };
}

/**
 * All containers: one row each, and a map that is the truth for reads. A change is in the table before
 * the call returns; a Container is frozen and replaced as a whole.
 */
export class Records {
  readonly #database: Database;
  readonly #entries = new Map<string, Entry>();
  readonly #ids = new Map<string, string>();
  #list: readonly Container[] | undefined;

  /** `directory`: where the engine's files are now, which may be elsewhere than when a row was written. */
  constructor(database: Database, directory?: string) {
    this.#database = database;
    database.run(
      `CREATE TABLE IF NOT EXISTS engine_containers (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created TEXT NOT NULL,
        container TEXT NOT NULL, inside TEXT NOT NULL) WITHOUT ROWID`,
    );
    const rows = database.query<{ container: string; inside: string }, []>(
      "SELECT container, inside FROM engine_containers ORDER BY created, id",
    );
    for (const row of rows.all()) {
      const stored = JSON.parse(row.container) as Container;
      const container = freeze(directory === undefined ? stored : movedTo(stored, directory));
      this.#entries.set(container.id, { container, inside: JSON.parse(row.inside) });
      this.#ids.set(container.name, container.id);
    }
  }

  /** Newest first. The same array until something changes. */
  list(): readonly Container[] {
    this.#list ??= Object.freeze(
      [...this.#entries.values()]
        .filter(({ inside }) => inside.phase !== "creating")
        .map(({ container }) => container)
        .reverse(),
    );
    return this.#list;
  }

  all(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  find(id: string): Container | undefined {
    return this.#entries.get(id)?.container;
  }

  /** @throws "not_found" */
  get(id: string): Container {
    return this.#entry(id).container;
  }

  inside(id: string): Inside {
    return this.#entry(id).inside;
  }

  /** By full ID, name or unambiguous prefix of an ID. @throws "not_found" | "conflict" */
  resolve(nameOrId: string): Container {
    if (nameOrId === "") throw new Failure("invalid", 'invalid name or ID supplied: ""');
    const name = nameOrId.startsWith("/") ? nameOrId.slice(1) : nameOrId;
    const id = this.#entries.has(name) ? name : (this.#ids.get(name) ?? this.#byPrefix(name));
    const entry = id === undefined ? undefined : this.#entries.get(id);
    // A half-created one keeps its name, but is not there yet.
    if (entry && entry.inside.phase !== "creating") return entry.container;
    throw absent(nameOrId);
  }

  /** Takes a name for a container to come, or makes one up. @throws "conflict" | "invalid" */
  reserve(id: string, wanted: string | undefined): string {
    const name = wanted ? parseName(wanted) : makeName((made) => this.#ids.has(made));
    this.#assertFree(name);
    this.#ids.set(name, id);
    return name;
  }

  /** Gives back a name that no record came to have. */
  unreserve(id: string, name: string): void {
    if (!this.#entries.has(id) && this.#ids.get(name) === id) this.#ids.delete(name);
  }

  /** Writes a container for the first time, or again when its creation is complete. */
  put(container: Container, inside: Inside): void {
    this.#database
      .query(
        `INSERT OR REPLACE INTO engine_containers (id, name, created, container, inside)
         VALUES (?, ?, ?, ?, ?)`,
      )
      .run(
        container.id,
        container.name,
        container.created,
        JSON.stringify(container),
        JSON.stringify(inside),
      );
    this.#ids.set(container.name, container.id);
    this.#set(freeze(container), inside);
  }

  change(id: string, change: Change, inside: Partial<Inside> = {}): Container {
    const old = this.#entry(id);
    const { state, ...rest } = change;
    const container: Container = {
      ...old.container,
      ...rest,
      state: state ? { ...old.container.state, ...state } : old.container.state,
    };
    const inner = { ...old.inside, ...inside };
    this.#database
      .query("UPDATE engine_containers SET container = ?, inside = ? WHERE id = ?")
      .run(JSON.stringify(container), JSON.stringify(inner), id);
    this.#set(freeze(container), inner);
    return container;
  }

  /** A change that a restarted daemon finds out by itself: not written. */
  changeInMemory(id: string, { state, ...rest }: Change): void {
    const { container, inside } = this.#entry(id);
    const merged = state ? { ...container.state, ...state } : container.state;
    this.#set(freeze({ ...container, ...rest, state: merged }), inside);
  }

  /** @throws "conflict" | "invalid" */
  rename(id: string, wanted: string): Container {
    const { container, inside } = this.#entry(id);
    const name = parseName(wanted);
    this.#assertFree(name);
    const renamed = freeze({ ...container, name });
    this.#database
      .query("UPDATE engine_containers SET name = ?, container = ? WHERE id = ?")
      .run(name, JSON.stringify(renamed), id);
    this.#ids.delete(container.name);
    this.#ids.set(name, id);
    this.#set(renamed, inside);
    return renamed;
  }

  /** Forgets a container; its name is free. Absent is fine. */
  remove(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#database.query("DELETE FROM engine_containers WHERE id = ?").run(id);
    this.#entries.delete(id);
    this.#ids.delete(entry.container.name);
    this.#list = undefined;
  }

  #set(container: Container, inside: Inside): void {
    this.#entries.set(container.id, { container, inside });
    this.#list = undefined;
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw absent(id);
  }

  #byPrefix(prefix: string): string | undefined {
    if (prefix.length < shortestPrefix || !/^[0-9a-f]+$/.test(prefix)) return undefined;
    let found: string | undefined;
    for (const id of this.#entries.keys()) {
      if (!id.startsWith(prefix)) continue;
      if (found !== undefined) {
        throw new Failure("conflict", `Multiple IDs found with provided prefix: ${prefix}`);
      }
      found = id;
    }
    return found;
  }

  #assertFree(name: string): void {
    const holder = this.#ids.get(name);
    if (holder === undefined) return;
    throw new Failure(
      "conflict",
      `Conflict. The container name "/${name}" is already in use by container "${holder}". ` +
        "You have to remove (or rename) that container to be able to reuse that name.",
    );
  }
}

function absent(nameOrId: string): Failure {
  return new Failure("not_found", `No such container: ${nameOrId.slice(0, 300)}`);
}

/** Frozen as deep as it is read: what is frozen already is not walked again. */
function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}
