import { Failure, limits } from "../base/mod.ts";
import { closeFile, errnoOf, listDirectory, open, openAt, unlinkAt } from "../sys/mod.ts";

/**
 * Removes a name and all below it, now, on this thread. A directory that is swapped for a symbolic
 * link meanwhile is not followed. Absent is fine.
 */
export function removeTree(directory: number, name: string, depth = 0): void {
  try {
    unlinkAt(directory, name);
    return;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT") return;
    if (errno !== "EISDIR" && errno !== "EPERM") throw error;
  }
  if (depth * 2 > limits.pathBytesMax) {
    throw new Failure("exhausted", `Cannot remove "${name}": its folders are nested too deep`);
  }
  emptyDirectory(directory, name, depth);
  unlinkAt(directory, name, true);
}

/** Removes all that is in a directory, but not what `keep` names. */
export function emptyDirectory(
  directory: number,
  name: string,
  depth = 0,
  keep: (name: string) => boolean = () => false,
): void {
  const folder = openAt(directory, name, open.readOnly | open.directory);
  try {
    for (const entry of listDirectory(folder)) {
      if (!keep(entry.name)) removeTree(folder, entry.name, depth + 1);
    }
  } finally {
    closeFile(folder);
  }
}
