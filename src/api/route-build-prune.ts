/** The build cache: what it holds, and what is to go. */
import { statfs } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { type CacheRow, worthOf } from "../build/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { booleanFilter, flag, parseFilters, parseTimeNs, whole } from "./query.ts";
import type { Route } from "./router.ts";
import type { BuildCacheRecord } from "./schema.ts";

export function cacheRecord(row: CacheRow): BuildCacheRecord {
  return {
    ID: row.id,
    Type: row.type,
    Description: row.description,
    InUse: row.inUse,
    Shared: false,
    Size: row.sizeBytes,
    CreatedAt: new Date(row.createdMs).toISOString(),
    LastUsedAt: new Date(row.lastUsedMs).toISOString(),
    UsageCount: 1,
  };
}

/** The filters of a prune of the build cache, as a question about a row. @throws Failure "invalid" */
export function parsePruneFilters(query: URLSearchParams): (row: CacheRow) => boolean {
  const names = ["until", "unused-for", "id", "type", "description", "parent", "inuse"];
  const filters = parseFilters(query, [...names, "shared", "private", "label", "label!"]);
  const untils = [...(filters.get("until") ?? []), ...(filters.get("unused-for") ?? [])];
  if (untils.length > 1)
    throw new Failure("invalid", "invalid filter: more than one until filter specified");
  const untilNs = untils[0] === undefined ? undefined : parseTimeNs(untils[0]);
  if (untils.length === 1 && untilNs === undefined) {
    throw new Failure("invalid", `invalid until filter: "${untils[0]!.slice(0, 100)}"`);
  }
  const untilMs = untilNs === undefined ? Number.POSITIVE_INFINITY : Number(untilNs / 1_000_000n);
  const [ids, types, words] = ["id", "type", "description"].map((name) => filters.get(name));
  const inUse = booleanFilter(filters, "inuse");
  // Nothing here is shared with another builder, and no row knows a parent.
  const isOther = ["label", "parent"].some((name) => filters.has(name));
  const isShared = booleanFilter(filters, "shared") ?? booleanFilter(filters, "private") === false;
  return (row) =>
    row.lastUsedMs < untilMs &&
    (ids?.some((id) => row.id.startsWith(id) || row.id.startsWith(`sha256:${id}`)) ?? true) &&
    (types?.includes(row.type) ?? true) &&
    (words?.some((word) => row.description.includes(word)) ?? true) &&
    (inUse === undefined || row.inUse === inUse) &&
    !isOther &&
    !isShared;
}

/** How much may stay: as BuildKit reckons it. */
async function keepBytesOf(query: URLSearchParams, { builder, info }: Context): Promise<number> {
  const reserved = whole(query, "reserved-space") ?? whole(query, "keep-storage") ?? 0;
  const minFree = whole(query, "min-free-space") ?? 0;
  let keep = whole(query, "max-used-space") ?? 0;
  if (minFree > 0) {
    const { bavail, bsize } = await statfs(info.dataRoot);
    const excess = minFree - bavail * bsize;
    const used = builder.cache().reduce((sum, row) => sum + (row.inUse ? 0 : row.sizeBytes), 0);
    if (excess > 0) keep = Math.max(1, keep === 0 ? used - excess : Math.min(keep, used - excess));
    else if (keep === 0) keep = Math.max(1, used); // there is room enough
  }
  return Math.max(keep, reserved);
}

async function prune(exchange: Exchange, context: Context): Promise<void> {
  const { builder, engine } = context;
  const { query } = exchange;
  const isDry = flag(query, "dry-run");
  const isAsked = parsePruneFilters(query);
  const keepBytes = await keepBytesOf(query, context);
  const all = flag(query, "all");
  const { ids, reclaimedBytes, rows } = await builder.prune({ all, keepBytes, isAsked, isDry });
  if (!isDry) {
    engine.emit({
      type: "builder",
      action: "prune",
      actor: { id: "", attributes: { reclaimed: String(reclaimedBytes) } },
    });
  }
  const records = rows.map((row) => {
    return { ...cacheRecord(row), CostMs: row.costMs, Value: worthOf(row) };
  });
  const more = flag(query, "explain") ? { Records: records } : {};
  exchange.json(200, { CachesDeleted: ids, SpaceReclaimed: reclaimedBytes, ...more });
}

export const pruneRoutes: readonly Route[] = [["POST", "/build/prune", prune]];
