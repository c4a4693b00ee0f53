import type { Digest } from "../oci/mod.ts";
import { Refusal } from "./refusal.ts";
import type { RepositoryId } from "./store-names.ts";
import type { RegistryStore } from "./store-open.ts";

/**
 * Moves a tag back to where it was before its last move, or to `to`, one of the places it has been;
 * what was deleted with it is there again. Undone twice, it is as it was.
 * @throws Refusal MANIFEST_UNKNOWN — the tag has not been there, or the collector has taken it
 */
export function undoTag(
  store: RegistryStore,
  { repository, tag, to, who }: { repository: RepositoryId; tag: string; to?: Digest; who: string },
): Digest | null {
  const moves = store.names.moves(repository, tag, 10_000);
  const last = moves[0];
  if (!last) throw new Refusal("MANIFEST_UNKNOWN", `Cannot undo: tag "${tag}" has never been set`);
  const target = to ?? last.previous;
  if (to !== undefined && !moves.some(({ digest, previous }) => digest === to || previous === to)) {
    throw new Refusal("MANIFEST_UNKNOWN", `Cannot undo: tag "${tag}" has never been at ${to}`);
  }
  if (target !== null && !store.manifests.row(repository, target)) {
    throw new Refusal("MANIFEST_UNKNOWN", `Cannot undo: ${target} is collected already`);
  }
  store.database.transaction(() => {
    if (target !== null) store.manifests.revive(repository, target);
    store.names.move(repository, tag, { digest: target, who });
  })();
  return target;
}
