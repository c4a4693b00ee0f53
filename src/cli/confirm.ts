/** Asks before something is destroyed. */
import { parseFilters } from "./key-values.ts";
import { write } from "./output.ts";

/** The flags of every prune. */
export const pruneFlags = {
  filter: { kind: "list", word: "filter", about: "Remove those that match: until=24h, label=NAME" },
  force: { kind: "bool", short: "f", about: "Do not ask" },
  "dry-run": { kind: "bool", about: "Only say what would be removed" },
} as const;

type PruneWish = { readonly filter: readonly string[]; force: boolean; "dry-run": boolean };

/**
 * The filters that were asked for. That nothing shall go is one more: an engine that does not know it
 * refuses it, where it would overlook a parameter and remove all.
 */
export function pruneFilters(flags: PruneWish): Record<string, string[]> {
  const filters = parseFilters(flags.filter);
  return flags["dry-run"] ? { ...filters, "dry-run": ["true"] } : filters;
}

/** Asks, unless nothing will go or the question was answered by a flag. */
export async function mayPrune(flags: PruneWish, warning: string): Promise<boolean> {
  return flags.force || flags["dry-run"] || (await confirm(warning));
}

/** Shows the warning and reads an answer; false for all but yes. */
export async function confirm(warning: string): Promise<boolean> {
  write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  for await (const line of console) return /^y(es)?$/i.test(line.trim());
  write("\n");
  return false;
}
