import type { BuildCacheRecord, DiskAuditAnswer, DiskUsage } from "../api/schema.ts";
import { Failure, isFailure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { containerListing } from "./container-listing.ts";
import { showAudit } from "./disk-listing.ts";
import { type Client, engineOf } from "./engine.ts";
import { ago, humanSize, shortId } from "./human.ts";
import { imageListing, namedImages } from "./image-listing.ts";
import { defineListing, listingText, showListing } from "./listing.ts";
import { write } from "./output.ts";
import { volumeListing } from "./volume-ls.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    verbose: { kind: "bool", short: "v", about: "Show each object" },
    audit: { kind: "bool", about: "Show who owns each byte of the data root" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    if (flags.verbose && flags.format !== "" && flags.format !== "json") {
      throw new Failure("conflict", "the verbose and the format options conflict");
    }
    const engine = engineOf(globals);
    if (flags.audit) return showAudit(await engine.system.auditDisk(), flags.format);
    const usage = await engine.system.diskUsage();
    if (flags.verbose) write(verboseText(usage, flags.format));
    else {
      const rows = withExactSizes(summaries(usage), usage, await exactDisk(engine));
      showListing(rows, summaryListing, { format: flags.format });
    }
    return 0;
  },
});

/** Undefined from an engine that is not Lading's. */
async function exactDisk(engine: Client): Promise<DiskAuditAnswer | undefined> {
  try {
    return await engine.system.auditDisk();
  } catch (error) {
    if (isFailure(error, "not_found") || isFailure(error, "unsupported")) return undefined;
    throw error;
  }
}

const kinds = { Images: "image", Containers: "container", "Local Volumes": "volume" } as const;

/**
 * What the disk gives instead of the lengths of files, and a row for what is the engine's own. What a prune
 * would free is counted so too: of images and build cache, whose layers can be several's, in proportion.
 */
export function withExactSizes(
  rows: readonly Summary[],
  usage: DiskUsage,
  disk: DiskAuditAnswer | undefined,
): readonly Summary[] {
  if (!disk) return rows;
  const kept = new Set([
    ...runningOf(usage).flatMap(({ Names }) =>
      Names.map((name) => name.replace(/^\//, "container ")),
    ),
    ...usedVolumesOf(usage).map(({ Name }) => `volume ${Name}`),
  ]);
  const exact = rows.map((row) => {
    const kind = kinds[row.type as keyof typeof kinds] ?? "build cache";
    const units = disk.units.filter((unit) => unit.kind === kind);
    const size = sum(units.map(({ bytes }) => bytes));
    const idle = units.filter(({ owner }) => !kept.has(owner ?? ""));
    const isShared = row.type === "Images" || row.type === "Build Cache";
    const part = row.size > 0 ? row.reclaimable / row.size : 0;
    const reclaimable = isShared ? Math.round(size * part) : sum(idle.map(({ bytes }) => bytes));
    return { ...row, size, reclaimable };
  });
  const size = sum(disk.units.filter(({ kind }) => kind === "engine").map(({ bytes }) => bytes));
  return [...exact, { type: "Engine", total: 1, active: 1, size, reclaimable: 0 }];
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, each) => all + each, 0);

const runningOf = ({ Containers }: DiskUsage) =>
  (Containers ?? []).filter(({ State }) => /running|paused|restarting/.test(State));

const usedVolumesOf = ({ Volumes }: DiskUsage) =>
  (Volumes ?? []).filter(({ UsageData }) => (UsageData?.RefCount ?? 0) !== 0);

interface Summary {
  readonly type: string;
  readonly total: number;
  readonly active: number;
  readonly size: number;
  /** Bytes, as `size`. */
  readonly reclaimable: number;
}

const summaryListing = defineListing<Summary>({
  typeName: "*formatter.diskUsageContext",
  columns: ["Type", "TotalCount", "Active", "Size", "Reclaimable"],
  fields: {
    Type: { heading: "TYPE", value: ({ type }) => type },
    TotalCount: { heading: "TOTAL", value: ({ total }) => String(total) },
    Active: { heading: "ACTIVE", value: ({ active }) => String(active) },
    Size: { heading: "SIZE", value: ({ size }) => humanSize(size, 4) },
    Reclaimable: { heading: "RECLAIMABLE", value: shownReclaimable },
  },
});

/** With its share of the size, where Docker shows one. */
function shownReclaimable({ type, size, reclaimable }: Summary): string {
  const text = humanSize(reclaimable, 4);
  if (type === "Build Cache" || type === "Engine") return text;
  if (size <= 0) return type === "Images" ? `${text} (0%)` : text;
  return `${text} (${Math.trunc((reclaimable * 100) / size)}%)`;
}

/** The four lines of `system df`. */
export function summaries(usage: DiskUsage): Summary[] {
  const images = usage.Images ?? [];
  const used = images.filter(({ Containers }) => Containers > 0);
  const usedBytes = used
    .filter(({ Size, SharedSize }) => Size !== -1 && SharedSize !== -1)
    .reduce((sum, { Size, SharedSize }) => sum + Size - SharedSize, 0);
  const containers = usage.Containers ?? [];
  const running = runningOf(usage);
  const bytes = (list: typeof containers) => sum(list.map(({ SizeRw = 0 }) => SizeRw));
  const volumes = usage.Volumes ?? [];
  const volumeBytes = (list: typeof volumes) =>
    sum(list.map(({ UsageData }) => Math.max(0, UsageData?.Size ?? 0)));
  const caches = usage.BuildCache ?? [];
  const cacheBytes = (list: typeof caches) =>
    sum(list.filter(({ Shared }) => !Shared).map(({ Size }) => Size));
  const stopped = containers.filter((container) => !running.includes(container));
  const inUse = usedVolumesOf(usage);
  const idle = volumes.filter((volume) => !inUse.includes(volume));
  const caching = caches.filter(({ InUse }) => InUse);
  const row = (type: string, counts: [number, number], size: number, reclaimable: number) => ({
    type,
    total: counts[0],
    active: counts[1],
    size,
    reclaimable,
  });
  return [
    row(
      "Images",
      [images.length, used.length],
      usage.LayersSize,
      Math.max(0, usage.LayersSize - usedBytes),
    ),
    row("Containers", [containers.length, running.length], bytes(containers), bytes(stopped)),
    row("Local Volumes", [volumes.length, inUse.length], volumeBytes(volumes), volumeBytes(idle)),
    row(
      "Build Cache",
      [caches.length, caching.length],
      cacheBytes(caches),
      cacheBytes(caches.filter(({ InUse }) => !InUse)),
    ),
  ];
}

const cacheListing = defineListing<BuildCacheRecord>({
  typeName: "*formatter.buildCacheContext",
  columns: ["ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"],
  fields: {
    ID: { heading: "CACHE ID", value: ({ ID, InUse }) => shortId(ID) + (InUse ? "*" : "") },
    CacheType: { heading: "CACHE TYPE", value: ({ Type }) => Type },
    Size: { heading: "SIZE", value: ({ Size }) => humanSize(Size) },
    CreatedSince: { heading: "CREATED", value: ({ CreatedAt }) => since(CreatedAt) },
    LastUsedSince: { heading: "LAST USED", value: ({ LastUsedAt }) => since(LastUsedAt) },
    UsageCount: { heading: "USAGE", value: ({ UsageCount }) => String(UsageCount) },
    Shared: { heading: "SHARED", value: ({ Shared }) => String(Shared) },
  },
});

function since(time: string | null): string {
  return time === null ? "" : ago(Date.parse(time) / 1000);
}

function verboseText(usage: DiskUsage, format: string): string {
  const images = imageListing({ isWhole: false, hasDigests: false });
  const containers = containerListing({ isWhole: false, hasSize: true });
  const caches = usage.BuildCache ?? [];
  const cacheBytes = caches
    .filter(({ Shared }) => !Shared)
    .reduce((sum, { Size }) => sum + Size, 0);
  if (format === "json") {
    const { Images, Containers, Volumes, BuildCache } = usage;
    return `${JSON.stringify({ Images, Containers, Volumes, BuildCache })}\n`;
  }
  const plain = { format: "" };
  const imageColumns = ["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize"];
  const containerColumns = ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor"];
  return [
    "Images space usage:\n",
    listingText(
      namedImages(usage.Images ?? [], false),
      { ...images, columns: [...imageColumns, "UniqueSize", "Containers"] },
      plain,
    ),
    "Containers space usage:\n",
    listingText(
      usage.Containers ?? [],
      {
        ...containers,
        columns: [...containerColumns, "Status", "Names"],
        fields: {
          ...containers.fields,
          Size: { heading: "SIZE", value: ({ SizeRw = 0 }) => humanSize(SizeRw) },
        },
      },
      plain,
    ),
    "Local Volumes space usage:\n",
    listingText(
      usage.Volumes ?? [],
      { ...volumeListing, columns: ["Name", "Links", "Size"] },
      plain,
    ),
    `Build cache usage: ${humanSize(cacheBytes, 4)}\n`,
    listingText(caches, cacheListing, plain),
  ].join("\n");
}
