import { isFailure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import type { Tools } from "./tools.ts";
import type { Builder } from "./types.ts";

type Listed = ReturnType<Builder["cache"]>[number];

/** The cache as `system df` and `builder prune` see it: one row a layer or cache folder. */
export function listCache(tools: Tools): Listed[] {
  const inImages = layersOfImages(tools);
  const rows = new Map<string, Listed>();
  // Several steps may have made one layer; the row of the one used last stays.
  for (const { layer, description, usedMs } of tools.cache.list()) {
    const known = layer && tools.snapshots.layer(layer);
    if (!known) continue;
    const inUse = inImages.has(layer) || tools.pins.has(layer);
    const { sizeBytes } = known;
    rows.set(layer, { id: layer, description, sizeBytes, lastUsedMs: usedMs, inUse });
  }
  const folders = tools.cache.folders().map(({ id, folder, sizeBytes, usedMs }) => {
    const description = `cached mount ${id}`;
    return {
      id: folder,
      description,
      sizeBytes,
      lastUsedMs: usedMs,
      inUse: tools.folders.isHeld(id),
    };
  });
  return [...rows.values(), ...folders];
}

/**
 * Forgets what was used longest ago until at most `keepBytes` are left. Layers that an image has cost
 * nothing to keep: their steps go only with `all` and a bound of 0. What a running build needs stays.
 */
export async function pruneCache(
  tools: Tools,
  { all, keepBytes, isAsked = () => true }: Parameters<Builder["prune"]>[0],
): Promise<{ ids: string[]; reclaimedBytes: number }> {
  const inImages = layersOfImages(tools);
  const listed = listCache(tools).sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  const isFree = ({ id, inUse }: Listed) => !inUse && !inImages.has(id as Digest);
  let held = listed.filter(isFree).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const ids: string[] = [];
  let reclaimedBytes = 0;
  for (const row of listed) {
    const isPinned = tools.pins.has(row.id as Digest);
    const mayForget = isFree(row) ? keepBytes === 0 || held > keepBytes : all && keepBytes === 0;
    if (isPinned || !mayForget || !isAsked(row)) continue;
    const freed = await forget(tools, row, isFree(row));
    if (freed === undefined) continue;
    ids.push(row.id);
    reclaimedBytes += freed;
    held -= freed;
  }
  if (keepBytes === 0) forgetPlainSteps(tools, all && listed.every(isAsked));
  return { ids, reclaimedBytes };
}

/** Forgets one row and removes its files when nothing else needs them; undefined: it is in use. */
async function forget(tools: Tools, row: Listed, isFree: boolean): Promise<number | undefined> {
  const folder = tools.cache.folders().find((one) => one.folder === row.id);
  if (folder) {
    if (tools.folders.isHeld(folder.id)) return undefined;
    await tools.folders.remove(folder);
    return folder.sizeBytes;
  }
  const layer = row.id as Digest;
  const steps = tools.cache.list().filter((step) => step.layer === layer);
  if (layersOfImages(tools).has(layer) && isFree) return undefined; // an image has come since
  if (isFree) {
    try {
      await tools.snapshots.removeLayer(layer);
    } catch (error) {
      if (isFailure(error, "conflict")) return undefined; // a container or a build stands on it
      throw error;
    }
  }
  tools.cache.forget(steps.map(({ key }) => key));
  return isFree ? row.sizeBytes : 0;
}

/** Steps without a layer hold no bytes; they go when everything goes. */
function forgetPlainSteps({ cache }: Tools, all: boolean): void {
  if (all) cache.forget(cache.list().flatMap((step) => (step.layer ? [] : [step.key])));
}

function layersOfImages({ images }: Tools): Set<Digest> {
  return new Set(images.list().flatMap(({ config }) => config.rootfs.diff_ids));
}
