import type { PrunedRecord } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { alignColumns } from "./columns.ts";
import { defineCommand } from "./command.ts";
import { mayPrune, pruneFlags } from "./confirm.ts";
import { type Client, engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { parseFilters } from "./key-values.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    ...pruneFlags,
    all: { kind: "bool", short: "a", about: "Remove all of it, not the dangling part alone" },
    "keep-storage": { kind: "bytes", about: "Keep this much" },
    "reserved-space": { kind: "bytes", about: "Keep this much, whatever else is said" },
    "max-used-space": { kind: "bytes", about: "Keep at most this much" },
    "min-free-space": { kind: "bytes", about: "Remove until this much of the disk is free" },
    explain: { kind: "bool", about: "Say of each what it is, what it cost and when it was used" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const warning = flags.all
      ? "This will remove all build cache."
      : "This will remove all dangling build cache.";
    if (!(await mayPrune(flags, warning))) return 0;
    const isDry = flags["dry-run"];
    const engine = engineOf(globals);
    if (isDry) await requirePreview(engine);
    const bounds = ["keep-storage", "reserved-space", "max-used-space", "min-free-space"] as const;
    const given = bounds.filter((name) => flags[name] > 0).map((name) => [name, flags[name]]);
    const {
      CachesDeleted,
      SpaceReclaimed,
      Records = [],
    } = await engine.images.pruneBuilds({
      all: flags.all,
      filters: parseFilters(flags.filter),
      ...Object.fromEntries(given),
      "dry-run": isDry,
      explain: flags.explain,
    });
    if (flags.explain) for (const line of explained(Records)) print(line);
    else if (CachesDeleted?.length) {
      print(
        `${isDry ? "Would delete" : "Deleted"} build cache objects:\n${CachesDeleted.join("\n")}\n`,
      );
    }
    print(`Total ${isDry ? "reclaimable" : "reclaimed"} space: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});

/** Docker's engine overlooks what it does not know of a build prune, and would remove at once. */
async function requirePreview({ system }: Client): Promise<void> {
  const { Platform } = await system.version();
  if (Platform?.Name === "Lading") return;
  throw new Failure(
    "unsupported",
    "Cannot preview: this engine is not Lading's, and would remove",
    {
      hint: "Nothing was removed",
    },
  );
}

/** One line each, the least valuable first. */
function explained(records: readonly PrunedRecord[]): string[] {
  const rows = records.map(({ ID, Type, Size, CostMs, LastUsedAt, Description }) => [
    ID.replace("sha256:", "").slice(0, 12),
    Type,
    humanSize(Size, 4),
    `${(CostMs / 1000).toFixed(1)}s`,
    (LastUsedAt ?? "").replace("T", " ").slice(0, 19),
    Description.replace(/\s+/g, " ").slice(0, 60),
  ]);
  const head = ["ID", "TYPE", "SIZE", "COST", "LAST USED", "DESCRIPTION"];
  return alignColumns([head, ...rows].map((cells) => cells.join("\t")).join("\n")).split("\n");
}
