/** Asks before something is destroyed. */
import { write } from "./output.ts";

/** The flags of every prune. */
export const pruneFlags = {
  filter: { kind: "list", word: "filter", about: "Remove those that match: until=24h, label=NAME" },
  force: { kind: "bool", short: "f", about: "Do not ask" },
} as const;

/** Shows the warning and reads an answer; false for all but yes. */
export async function confirm(warning: string): Promise<boolean> {
  write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  for await (const line of console) return /^y(es)?$/i.test(line.trim());
  write("\n");
  return false;
}
