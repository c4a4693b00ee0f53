import type { Digest } from "../oci/mod.ts";
import type { RetentionRule } from "./config.ts";
import { compileGlobs } from "./glob.ts";
import type { RepositoryId } from "./store-names.ts";
import type { RegistryStore } from "./store-open.ts";

/** A tag, or a manifest without one, that a rule lets go. */
export interface Retired {
  readonly repository: string;
  readonly tag?: string;
  readonly digest: Digest;
  readonly why: string;
}

type Tagged = { readonly name: string; readonly digest: Digest; readonly movedMs: number };

const dayMs = 86_400_000;
const pageRows = 200;
const who = "retention";

/**
 * Removes tags and untagged manifests that the rules do not keep; `mayMove` says no for immutable tags.
 * What is removed can be undone for the history's time; then the collector takes it.
 */
export async function retire(
  store: RegistryStore,
  rules: readonly RetentionRule[],
  { dryRun, mayMove }: { dryRun: boolean; mayMove: (repository: string, tag: string) => boolean },
): Promise<Retired[]> {
  const compiled = rules.map((rule) => ({
    ...rule,
    inRepository: compileGlobs(rule.repositories),
    isTag: compileGlobs(rule.tags),
  }));
  const found: Retired[] = [];
  if (compiled.length === 0) return found;
  for (let last = ""; ; ) {
    const names = store.names.list(last, pageRows);
    for (const name of names) {
      const mine = compiled.filter((rule) => rule.inRepository(name));
      const id = mine.length > 0 ? store.names.find(name) : undefined;
      for (const rule of id === undefined ? [] : mine) {
        // In this order, for a dry run to tell the same: what loses its tag now is another run's.
        found.push(...retireUntagged(store, { rule, name, id: id!, dryRun }));
        found.push(...retireTags(store, { rule, name, id: id!, dryRun, mayMove }));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    if (names.length < pageRows) return found;
    last = names.at(-1)!;
  }
}

type Work = {
  readonly rule: RetentionRule & { readonly isTag: (tag: string) => boolean };
  readonly name: string;
  readonly id: RepositoryId;
  readonly dryRun: boolean;
};

function retireTags(
  store: RegistryStore,
  { rule, name, id, dryRun, mayMove }: Work & { mayMove: (name: string, tag: string) => boolean },
): Retired[] {
  const { keepLast, keepDays } = rule;
  if (keepLast === undefined && keepDays === undefined) return [];
  const tags = store.database
    .query<Tagged, [number]>(
      `SELECT name, digest, moved_ms AS movedMs FROM registry_tag
       WHERE repository = ? ORDER BY moved_ms DESC, name`,
    )
    .all(id)
    .filter((tag) => rule.isTag(tag.name));
  const youngerThan = Date.now() - (keepDays ?? 0) * dayMs;
  const gone = tags.filter((tag, index) => {
    const isKept =
      index < (keepLast ?? 0) || (keepDays !== undefined && tag.movedMs >= youngerThan);
    return !isKept && mayMove(name, tag.name);
  });
  if (!dryRun) {
    store.database.transaction(() => {
      for (const tag of gone) store.names.move(id, tag.name, { digest: null, who });
    })();
  }
  const bounds = [
    ...(keepLast === undefined ? [] : [`not among the last ${keepLast}`]),
    ...(keepDays === undefined ? [] : [`older than ${keepDays} days`]),
  ];
  return gone.map(({ name: tag, digest }) => ({
    repository: name,
    tag,
    digest,
    why: bounds.join(", "),
  }));
}

function retireUntagged(store: RegistryStore, { rule, name, id, dryRun }: Work): Retired[] {
  if (rule.untaggedDays === undefined) return [];
  // What an index or a subject needs is not alone; nor is what a tag has left only lately.
  const rows = store.database
    .query<{ digest: Digest }, [{ $id: number; $before: number }]>(
      `SELECT m.digest FROM registry_manifest m
       WHERE m.repository = $id AND m.removed_ms IS NULL AND m.touched_ms < $before
         AND NOT EXISTS (SELECT 1 FROM registry_tag t
           WHERE t.repository = m.repository AND t.digest = m.digest)
         AND NOT EXISTS (SELECT 1 FROM registry_move v WHERE v.repository = m.repository
           AND v.previous = m.digest AND v.at_ms >= $before)
         AND NOT EXISTS (SELECT 1 FROM registry_edge e JOIN registry_manifest p
             ON p.repository = e.repository AND p.digest = e.parent
           WHERE e.repository = m.repository AND e.child = m.digest AND p.removed_ms IS NULL)
         AND NOT EXISTS (SELECT 1 FROM registry_manifest s WHERE s.repository = m.repository
           AND s.digest = m.subject AND s.removed_ms IS NULL)
       LIMIT 10000`,
    )
    .all({ $id: id, $before: Date.now() - rule.untaggedDays * dayMs });
  if (!dryRun) for (const { digest } of rows) store.manifests.hide(id, digest, who);
  const why = `without a tag for ${rule.untaggedDays} days`;
  return rows.map(({ digest }) => ({ repository: name, digest, why }));
}
