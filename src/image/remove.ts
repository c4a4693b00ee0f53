import { Failure } from "../base/mod.ts";
import { type Digest, hexOf, parseReference } from "../oci/mod.ts";
import { findImage, isIdOf, nameOf, noSuchImage } from "./find.ts";
import { chainIds } from "./layers.ts";
import { familiar, isCanonical, type Records, repositoryOf } from "./records.ts";

export type Users = (id: Digest) => { id: string; running: boolean }[];

/** A removal that is settled but not done. */
export interface RemovalPlan {
  readonly names: readonly string[];
  readonly ids: readonly Digest[];
  /** What to say, in order; `layer` is what must really go for the line to be true. */
  readonly lines: readonly (
    | { readonly untagged: string; readonly id: Digest }
    | { readonly deleted: Digest; readonly layer?: Digest }
  )[];
}

const short = (id: string) => id.replace("sha256:", "").slice(0, 12);

/**
 * Settles what Docker's `rmi` does to a name or an ID: the name goes, and the image with its last one;
 * then parents that nobody named and nothing uses. Changes nothing.
 * @throws Failure "conflict" in Docker's words | "not_found" | "invalid"
 */
export function planRemoval(
  records: Records,
  reference: string,
  options: { readonly force: boolean; readonly noPrune: boolean; readonly users: Users },
): RemovalPlan {
  const id = findImage(records, reference);
  const removal = new Removing(records, options);
  if (isIdOf(id, reference)) removal.byId(id);
  else removal.byName(id, reference);
  return removal.plan();
}

class Removing {
  readonly #records: Records;
  readonly #options: { readonly force: boolean; readonly noPrune: boolean; readonly users: Users };
  readonly #names = new Set<string>();
  readonly #ids = new Set<Digest>();
  readonly #lines: RemovalPlan["lines"][number][] = [];

  constructor(
    records: Records,
    options: { readonly force: boolean; readonly noPrune: boolean; readonly users: Users },
  ) {
    this.#records = records;
    this.#options = options;
  }

  plan(): RemovalPlan {
    return { names: [...this.#names], ids: [...this.#ids], lines: this.#lines };
  }

  byName(id: Digest, reference: string): void {
    const { force, users } = this.#options;
    const names = this.#left(id);
    const user = users(id)[0];
    if (!force && isSingle(names) && user) {
      throw new Failure(
        "conflict",
        `conflict: unable to remove repository reference "${reference}" (must force) - ` +
          `container ${short(user.id)} is using its referenced image ${short(id)}`,
      );
    }
    const name = nameOf(parseReference(reference));
    // The name may have been found as the start of another image's ID.
    if (!names.includes(name)) throw noSuchImage(reference);
    this.#untag(id, name);
    const repository = repositoryOf(name);
    const siblings = this.#left(id).filter((other) => repositoryOf(other) === repository);
    // With the last tag of a repository go the digests under which it was known.
    if (!isCanonical(name) && siblings.every(isCanonical)) {
      for (const sibling of siblings) this.#untag(id, sibling);
    }
    if (this.#left(id).length === 0) this.#delete(id, { force, quiet: true });
  }

  byId(id: Digest): void {
    const { force } = this.#options;
    const names = this.#left(id);
    if (isSingle(names)) {
      const conflict = this.#conflict(id, { soft: !force, names: false });
      if (conflict) throw conflict.failure;
      for (const name of names) this.#untag(id, name);
    }
    this.#delete(id, { force, quiet: false });
  }

  #delete(id: Digest, { force, quiet }: { force: boolean; quiet: boolean }): void {
    const conflict = this.#conflict(id, { soft: !force, names: true });
    if (conflict) {
      // After its name went, an image that something needs stays without one.
      if (quiet && (!this.#isDangling(id) || conflict.isUsed)) return;
      throw conflict.failure;
    }
    for (const name of this.#left(id)) this.#untag(id, name);
    const row = this.#records.row(id);
    if (!row) return;
    this.#ids.add(id);
    this.#lines.push({ deleted: id });
    this.#tellLayers(row.config.rootfs.diff_ids);
    if (!this.#options.noPrune && row.parent && this.#records.row(row.parent)) {
      this.#delete(row.parent, { force: false, quiet: true });
    }
  }

  #tellLayers(diffIds: readonly Digest[]): void {
    const others = [...this.#records.rows()].filter((row) => !this.#ids.has(row.id));
    const shared = new Set(others.flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
    const chain = chainIds(diffIds);
    for (let at = chain.length - 1; at >= 0; at--) {
      const deleted = chain[at]!;
      if (!shared.has(deleted)) this.#lines.push({ deleted, layer: diffIds[at]! });
    }
  }

  #left(id: Digest): string[] {
    return this.#records.namesOf(id).filter((name) => !this.#names.has(name));
  }

  #untag(id: Digest, name: string): void {
    this.#names.add(name);
    this.#lines.push({ untagged: familiar(name), id });
  }

  #isDangling(id: Digest): boolean {
    return this.#left(id).length === 0 && this.#children(id).length === 0;
  }

  #children(id: Digest): Digest[] {
    return this.#records.children(id).filter((child) => !this.#ids.has(child));
  }

  #conflict(
    id: Digest,
    { soft, names }: { soft: boolean; names: boolean },
  ): { failure: Failure; isUsed: boolean } | undefined {
    const users = this.#options.users(id);
    const running = users.find((user) => user.running);
    const hard = (why: string) => refuse(id, "cannot be forced", why);
    if (this.#children(id).length > 0) {
      return { failure: hard("image has dependent child images"), isUsed: false };
    }
    if (running) {
      const why = `image is being used by running container ${short(running.id)}`;
      return { failure: hard(why), isUsed: true };
    }
    if (soft && names && this.#left(id).length > 0) {
      const why = "image is referenced in multiple repositories";
      return { failure: refuse(id, "must be forced", why), isUsed: false };
    }
    if (soft && users[0]) {
      const why = `image is being used by stopped container ${short(users[0].id)}`;
      return { failure: refuse(id, "must be forced", why), isUsed: true };
    }
    return undefined;
  }
}

function refuse(id: Digest, how: string, why: string): Failure {
  return new Failure(
    "conflict",
    `conflict: unable to delete ${hexOf(id).slice(0, 12)} (${how}) - ${why}`,
  );
}

/** True when all names are of one repository, with at most one tag. */
function isSingle(names: readonly string[]): boolean {
  const tags = names.filter((name) => !isCanonical(name));
  return tags.length <= 1 && new Set(names.map(repositoryOf)).size <= 1;
}
