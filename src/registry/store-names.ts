import type { Database } from "bun:sqlite";
import type { Digest } from "../oci/mod.ts";
import { Refusal } from "./refusal.ts";

/** The number of a repository in the tables. */
export type RepositoryId = number & { readonly brand: "repository" };

/** One move of a tag, newest first in lists. `digest` is null when the tag was removed. */
export interface TagMove {
  readonly id: number;
  readonly digest: Digest | null;
  readonly previous: Digest | null;
  readonly atMs: number;
  readonly who: string;
}

const hasManifests =
  "EXISTS (SELECT 1 FROM registry_manifest m WHERE m.repository = r.id AND m.removed_ms IS NULL)";

/** Repositories, tags, and where tags have been. All calls are synchronous and short. */
export class Names {
  readonly #database: Database;
  readonly #repositoriesMax: number;

  constructor(database: Database, { repositoriesMax }: { repositoriesMax: number }) {
    this.#database = database;
    this.#repositoriesMax = repositoriesMax;
  }

  find(name: string): RepositoryId | undefined {
    return this.#database
      .query<{ id: RepositoryId }, [string]>("SELECT id FROM registry_repository WHERE name = ?")
      .get(name)?.id;
  }

  /** @throws Refusal NAME_UNKNOWN */
  need(name: string): RepositoryId {
    const found = this.find(name);
    if (found !== undefined) return found;
    throw new Refusal("NAME_UNKNOWN", `Cannot find repository "${name}"`, { detail: { name } });
  }

  /** @throws Refusal DENIED — there are as many repositories as the registry takes */
  ensure(name: string): RepositoryId {
    const found = this.find(name);
    if (found !== undefined) return found;
    const row = this.#database
      .query<{ count: number }, []>("SELECT count(*) AS count FROM registry_repository")
      .get();
    if ((row?.count ?? 0) >= this.#repositoriesMax) {
      throw new Refusal("DENIED", `Cannot create "${name}": the registry is full of repositories`);
    }
    this.#database
      .query("INSERT OR IGNORE INTO registry_repository (name, created_ms) VALUES (?, ?)")
      .run(name, Date.now());
    return this.need(name);
  }

  /** Names of repositories that hold something, in order, after `last`. */
  list(last: string, countMax: number): string[] {
    return this.#database
      .query<{ name: string }, [string, number]>(
        `SELECT name FROM registry_repository r
         WHERE name > ? AND ${hasManifests} ORDER BY name LIMIT ?`,
      )
      .all(last, countMax)
      .map(({ name }) => name);
  }

  /** Tags in the specification's order, which looks at case last, after `last`. */
  tags(repository: RepositoryId, last: string, countMax: number): string[] {
    return this.#database
      .query<{ name: string }, [number, string, string, number]>(
        `SELECT name FROM registry_tag
         WHERE repository = ? AND (lower(name), name) > (lower(?), ?)
         ORDER BY lower(name), name LIMIT ?`,
      )
      .all(repository, last, last, countMax)
      .map(({ name }) => name);
  }

  /** How many tags there are, and when the last of them was set. */
  summary(repository: RepositoryId): { tags: number; movedMs: number | null } {
    return this.#database
      .query<{ tags: number; movedMs: number | null }, [number]>(
        "SELECT count(*) AS tags, max(moved_ms) AS movedMs FROM registry_tag WHERE repository = ?",
      )
      .get(repository)!;
  }

  tagged(repository: RepositoryId, tag: string): { digest: Digest; movedMs: number } | undefined {
    return (
      this.#database
        .query<{ digest: Digest; movedMs: number }, [number, string]>(
          `SELECT digest, moved_ms AS movedMs FROM registry_tag WHERE repository = ? AND name = ?`,
        )
        .get(repository, tag) ?? undefined
    );
  }

  tagsOf(repository: RepositoryId, digest: Digest): string[] {
    return this.#database
      .query<{ name: string }, [number, string]>(
        "SELECT name FROM registry_tag WHERE repository = ? AND digest = ? ORDER BY name",
      )
      .all(repository, digest)
      .map(({ name }) => name);
  }

  /** Points a tag at a manifest, or removes it, and keeps the move. To call in a transaction. */
  move(repository: RepositoryId, tag: string, to: { digest: Digest | null; who: string }): void {
    const previous = this.tagged(repository, tag)?.digest ?? null;
    if (previous === to.digest) return;
    const now = Date.now();
    if (to.digest === null) {
      this.#database
        .query("DELETE FROM registry_tag WHERE repository = ? AND name = ?")
        .run(repository, tag);
    } else {
      this.#database
        .query(
          `INSERT INTO registry_tag (repository, name, digest, moved_ms) VALUES (?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET digest = excluded.digest, moved_ms = excluded.moved_ms`,
        )
        .run(repository, tag, to.digest, now);
    }
    this.#database
      .query(
        `INSERT INTO registry_move (repository, tag, digest, previous, at_ms, who)
         VALUES (?, ?, ?, ?, ?, ?)`,
      )
      .run(repository, tag, to.digest, previous, now, to.who.slice(0, 255));
  }

  /** The moves of a tag, newest first. */
  moves(repository: RepositoryId, tag: string, countMax: number): TagMove[] {
    return this.#database
      .query<TagMove, [number, string, number]>(
        `SELECT id, digest, previous, at_ms AS atMs, who FROM registry_move
         WHERE repository = ? AND tag = ? ORDER BY id DESC LIMIT ?`,
      )
      .all(repository, tag, countMax);
  }
}
