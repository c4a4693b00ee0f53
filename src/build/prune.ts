import { isFailure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import type { Tools } from "./tools.ts";
import type { CacheRow, Pruned, PruneOptions } from "./types.ts";

/** The cache as `system df` and `builder prune` see it: one row a layer or cache folder. */
export function listCache(tools: Tools): CacheRow[] {
  const inImages = layersOfImages(tools);
  const rows = new Map<string, CacheRow>();
  // Several steps may have made one layer; the row of the one used last stays.
  for (const { layer, description, createdMs, usedMs, costMs } of tools.cache.list()) {
    const known = layer && tools.snapshots.layer(layer);
    if (!known) continue;
    const inUse = inImages.has(layer) || tools.pins.has(layer);
    const { sizeBytes } = known;
    const about = { id: layer, type: "regular", description, sizeBytes } as const;
    rows.set(layer, { ...about, createdMs, lastUsedMs: usedMs, costMs, inUse });
  }
  const folders = tools.cache.folders().map(({ id, folder, sizeBytes, usedMs }) => {
    const about = { id: folder, type: "exec.cachemount", sizeBytes } as const;
    const description = `cached mount ${id}`;
    const inUse = tools.folders.isHeld(id);
    const times = { createdMs: usedMs, lastUsedMs: usedMs, costMs: folderCostMs };
    return { ...about, description, ...times, inUse };
  });
  return [...rows.values(), ...folders];
}

/** What is assumed for the folder of a cache mount: what fills it is fetched from somewhere. */
const folderCostMs = 10_000;
const halfLifeMs = 3 * 24 * 60 * 60_000;
/** Even what was made at once, and what is empty, has a cost and a size. */
const [costMsMin, sizeBytesMin] = [50, 64 << 10] as const;

/** What a byte of it is worth: the time to make it again, halved for each three days without use. */
export function worthOf({ costMs, sizeBytes, lastUsedMs }: CacheRow, nowMs = Date.now()): number {
  const ageMs = Math.max(0, nowMs - lastUsedMs);
  return ((costMs + costMsMin) / (sizeBytes + sizeBytesMin)) * 0.5 ** (ageMs / halfLifeMs);
}

/**
 * Forgets what is worth least until at most `keepBytes` are left. Layers that an image has cost
 * nothing to keep: their steps go only with `all` and a bound of 0. What a running build needs stays.
 */
export async function pruneCache(
  tools: Tools,
  { all, keepBytes, isAsked = () => true, isDry = false }: PruneOptions,
): Promise<Pruned> {
  const inImages = layersOfImages(tools);
  const nowMs = Date.now();
  const worth = listCache(tools).map((row) => [worthOf(row, nowMs), row] as const);
  const listed = worth.sort((a, b) => a[0] - b[0]).map(([, row]) => row);
  const isFree = ({ id, inUse }: CacheRow) => !inUse && !inImages.has(id as Digest);
  let held = listed.filter(isFree).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const rows: CacheRow[] = [];
  let reclaimedBytes = 0;
  for (const row of listed) {
    const isPinned = tools.pins.has(row.id as Digest);
    const mayForget = isFree(row) ? keepBytes === 0 || held > keepBytes : all && keepBytes === 0;
    if (isPinned || !mayForget || !isAsked(row)) continue;
    const bytes = isFree(row) ? row.sizeBytes : 0;
    const freed = isDry ? bytes : await forget(tools, row, isFree(row));
    if (freed === undefined) continue;
    rows.push(row);
    reclaimedBytes += freed;
    held -= freed;
  }
  // Steps without a layer hold no bytes; they go when everything goes.
  if (keepBytes === 0 && !isDry && all && listed.every(isAsked)) tools.cache.forgetPlain();
  return { ids: rows.map(({ id }) => id), reclaimedBytes, rows };
}

/** Forgets one row and removes its files when nothing else needs them; undefined: it is in use. */
async function forget(tools: Tools, row: CacheRow, isFree: boolean): Promise<number | undefined> {
  const folder = tools.cache.folders().find((one) => one.folder === row.id);
  if (folder) {
    if (tools.folders.isHeld(folder.id)) return undefined;
    await tools.folders.remove(folder);
    return folder.sizeBytes;
  }
  const layer = row.id as Digest;
  if (layersOfImages(tools).has(layer) && isFree) return undefined; // an image has come since
  if (isFree) {
    try {
      await tools.snapshots.removeLayer(layer);
    } catch (error) {
      if (isFailure(error, "conflict")) return undefined; // a container or a build stands on it
      throw error;
    }
  }
  tools.cache.forget(tools.cache.keysOf(layer));
  return isFree ? row.sizeBytes : 0;
}

/** What the cache holds that an image does not. Costs little: it is asked after each build. */
export function heldBytes(tools: Tools): number {
  const inImages = layersOfImages(tools);
  let bytes = 0;
  for (const layer of tools.cache.layers()) {
    if (inImages.has(layer) || tools.pins.has(layer)) continue;
    bytes += tools.snapshots.layer(layer)?.sizeBytes ?? 0;
  }
  for (const { sizeBytes } of tools.cache.folders()) bytes += sizeBytes;
  return bytes;
}

function layersOfImages({ images }: Tools): Set<Digest> {
  return new Set(images.list().flatMap(({ config }) => config.rootfs.diff_ids));
}
