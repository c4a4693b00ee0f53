import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/**
 * The processes of a container that no control group counts, by its first one: those that are in the same
 * process namespace, or, where that is the engine's, its descendants. Without the first one, none.
 */
export function processesBeside(first: number, own: string = namespaceOf("self") ?? ""): number[] {
  const namespace = namespaceOf(first);
  if (namespace === undefined) return [];
  const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  if (namespace !== own) return pids.filter((pid) => namespaceOf(pid) === namespace);
  const parents = new Map(pids.map((pid) => [pid, parentOf(pid)]));
  return pids.filter((pid) => descendsFrom(first, pid, parents));
}

function namespaceOf(pid: number | "self"): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined; // it has ended, or is somebody else's
  }
}

function parentOf(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0; // it has ended
  }
}

function descendsFrom(first: number, pid: number, parents: ReadonlyMap<number, number>): boolean {
  // The table was read while processes came and went: no more steps than it has rows.
  for (let at = pid, left = parents.size; at > 1 && left >= 0; at = parents.get(at) ?? 0, left--) {
    if (at === first) return true;
  }
  return false;
}
