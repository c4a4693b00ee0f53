import type { Digest } from "../oci/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import { familiar, isCanonical, type Records } from "./records.ts";
import type { HistoryRow } from "./types.ts";

/**
 * How an image came to be, newest step first. The image stands at the newest, the parents that are
 * known here at the steps below; the others have no ID ("<missing>").
 */
export function historyOf(records: Records, snapshots: SnapshotStore, id: Digest): HistoryRow[] {
  const row = records.row(id);
  if (!row) return [];
  const diffIds = [...row.config.rootfs.diff_ids];
  const steps = (row.config.history ?? []).map((entry) => {
    const diffId = entry.empty_layer ? undefined : diffIds.shift();
    return { entry, sizeBytes: diffId ? (snapshots.layer(diffId)?.sizeBytes ?? 0) : 0 };
  });
  let at: Digest | undefined = id;
  return steps.reverse().map((step) => {
    const here = at;
    at = at && records.row(at)?.parent;
    return { ...step, id: here, tags: here ? tagsOf(records, here) : [] };
  });
}

/** The names with a tag, as people write them, sorted. */
export function tagsOf(records: Records, id: Digest): string[] {
  const names = records.namesOf(id).filter((name) => !isCanonical(name));
  return names.map(familiar).sort();
}
