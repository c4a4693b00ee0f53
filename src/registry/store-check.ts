import { isFailure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import type { RegistryStore } from "./store-open.ts";

/** Bytes that are not as they should be. */
export interface Damage {
  readonly digest: Digest;
  readonly what: "missing" | "size" | "corrupt";
  readonly repositories: readonly string[];
}

/** A manifest some of whose parts are gone. */
export interface Incomplete {
  readonly repository: string;
  readonly digest: Digest;
  readonly tags: readonly string[];
}

export interface CheckReport {
  readonly checked: { blobs: number; sizeBytes: number };
  readonly damaged: readonly Damage[];
  readonly incomplete: readonly Incomplete[];
  readonly isRepaired: boolean;
}

type Owned = { readonly digest: Digest; readonly sizeBytes: number };

const pageRows = 200;
const problemsMax = 10_000;

/**
 * Compares what the registry knows with what is stored; `isQuick` looks at sizes alone. With `repairs`,
 * damaged bytes and the rows for them are removed, so that the registry says "absent" and the next push
 * brings them again; manifests that lack a part are only told of.
 */
export async function check(
  store: RegistryStore,
  { isQuick = false, repairs = false }: { isQuick?: boolean; repairs?: boolean } = {},
): Promise<CheckReport> {
  const checked = { blobs: 0, sizeBytes: 0 };
  const damaged: Damage[] = [];
  for await (const owned of ownedBytes(store)) {
    checked.blobs++;
    checked.sizeBytes += owned.sizeBytes;
    const what = await damageOf(store, owned, isQuick);
    if (what === undefined) continue;
    const { digest } = owned;
    if (damaged.length < problemsMax) {
      damaged.push({ digest, what, repositories: ownersOf(store, digest) });
    }
    if (repairs) await store.locks.run(digest, () => repair(store, owned, isQuick));
  }
  return { checked, damaged, incomplete: findIncomplete(store), isRepaired: repairs };
}

/** Every digest that some row is for, with its size. */
async function* ownedBytes({ database }: RegistryStore): AsyncGenerator<Owned, void> {
  const page = database.query<Owned, [string, number]>(
    `SELECT digest, max(size_bytes) AS sizeBytes FROM (
       SELECT digest, size_bytes FROM registry_blob
       UNION SELECT digest, size_bytes FROM registry_manifest)
     WHERE digest > ? GROUP BY digest ORDER BY digest LIMIT ?`,
  );
  for (let last = ""; ; ) {
    const rows = page.all(last, pageRows);
    yield* rows;
    if (rows.length < pageRows) return;
    last = rows.at(-1)!.digest;
  }
}

async function damageOf(
  { content }: RegistryStore,
  { digest, sizeBytes }: Owned,
  isQuick: boolean,
): Promise<Damage["what"] | undefined> {
  const found = await content.size(digest);
  if (found === undefined) return "missing";
  if (found !== sizeBytes) return "size";
  if (isQuick) return undefined;
  try {
    for await (const _piece of content.read(digest));
  } catch (error) {
    if (isFailure(error, "corrupt")) return "corrupt";
    if (isFailure(error, "not_found")) return "missing";
    throw error;
  }
  return undefined;
}

/** Under the digest's lock; a push may have mended it meanwhile. */
async function repair(store: RegistryStore, owned: Owned, isQuick: boolean): Promise<void> {
  if ((await damageOf(store, owned, isQuick)) === undefined) return;
  const { database, names } = store;
  const { digest } = owned;
  await store.content.remove(digest);
  store.manifests.forget(digest);
  database.transaction(() => {
    const manifests = database
      .query<{ repository: Parameters<typeof names.tagsOf>[0] }, [string]>(
        "SELECT repository FROM registry_manifest WHERE digest = ?",
      )
      .all(digest);
    for (const { repository } of manifests) {
      for (const tag of names.tagsOf(repository, digest)) {
        names.move(repository, tag, { digest: null, who: "fsck" });
      }
    }
    database.query("DELETE FROM registry_edge WHERE parent = ?").run(digest);
    database.query("DELETE FROM registry_manifest WHERE digest = ?").run(digest);
    database.query("DELETE FROM registry_blob WHERE digest = ?").run(digest);
  })();
}

function ownersOf({ database }: RegistryStore, digest: Digest): string[] {
  return database
    .query<{ name: string }, [string, string]>(
      `SELECT name FROM registry_repository WHERE id IN (
         SELECT repository FROM registry_blob WHERE digest = ?
         UNION SELECT repository FROM registry_manifest WHERE digest = ?) ORDER BY name LIMIT 100`,
    )
    .all(digest, digest)
    .map(({ name }) => name);
}

function findIncomplete(store: RegistryStore): Incomplete[] {
  return store.database
    .query<{ id: never; repository: string; digest: Digest }, []>(
      `SELECT DISTINCT r.id, r.name AS repository, m.digest FROM registry_edge e
       JOIN registry_manifest m ON m.repository = e.repository AND m.digest = e.parent
       JOIN registry_repository r ON r.id = m.repository
       WHERE m.removed_ms IS NULL AND e.kind IN ('blob', 'manifest')
         AND NOT EXISTS (SELECT 1 FROM registry_blob b
           WHERE b.repository = e.repository AND b.digest = e.child AND e.kind = 'blob')
         AND NOT EXISTS (SELECT 1 FROM registry_manifest c
           WHERE c.repository = e.repository AND c.digest = e.child AND e.kind = 'manifest')
       LIMIT ${problemsMax}`,
    )
    .all()
    .map(({ id, repository, digest }) => ({
      repository,
      digest,
      tags: store.names.tagsOf(id, digest),
    }));
}
