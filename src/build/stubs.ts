import { posix } from "node:path";
import {
  closeFile,
  findAt,
  listDirectory,
  open,
  openAt,
  type Stat,
  setTimeAt,
  statAt,
  unlinkAt,
} from "../sys/mod.ts";
import { Root } from "./rooted.ts";

/**
 * What stood at a mount point before a RUN. The runtime makes empty files and folders to mount on; they
 * are not the user's and must not reach the layer.
 */
export interface Stub {
  /** The deepest folder that was there, below the root, without links. */
  readonly above: string;
  /** What was missing below it, outermost first. */
  readonly missing: readonly string[];
  /** State of the folder above before the RUN. */
  readonly stat: Stat;
}

/** Notes which of the mount points are missing now: a few system calls each. */
export function noteStubs(path: string, targets: readonly string[]): Stub[] {
  using root = new Root(path);
  return targets.flatMap((target) => {
    const names = posix.join("/", target).split("/").slice(1);
    for (let depth = names.length; depth >= 0; depth--) {
      const place = root.find(names.slice(0, depth).join("/"));
      if (!place) continue;
      if (depth === names.length || place.stat.type !== "directory") return [];
      return [{ above: place.path, missing: names.slice(depth), stat: place.stat }];
    }
    return [];
  });
}

/** Takes away those that are still empty, and gives the folder above its time back. */
export function clearStubs(path: string, stubs: readonly Stub[]): void {
  using root = new Root(path);
  const touched = new Map<string, Stat>();
  // Deepest first: a mount point may lie in the folder that another one made.
  const sorted = [...stubs].sort((a, b) => b.missing.length - a.missing.length);
  for (const { above, missing, stat } of sorted) {
    const folder = root.open(above, open.readOnly | open.directory);
    if (folder === undefined) continue;
    try {
      if (clear(folder, missing)) touched.set(above, touched.get(above) ?? stat);
    } finally {
      closeFile(folder);
    }
  }
  for (const [above, stat] of touched) restoreTime(root, { above, stat });
}

/** Removes `names[0]` of `folder` once what is below it has gone; tells whether it is gone. */
function clear(folder: number, [name, ...rest]: readonly string[]): boolean {
  const stat = name === undefined ? undefined : findAt(folder, name);
  if (name === undefined || !stat) return true; // another stub's folder took it along
  if (stat.type === "file" && stat.sizeBytes === 0 && rest.length === 0) {
    unlinkAt(folder, name);
    return true;
  }
  if (stat.type !== "directory") return false;
  const inside = openAt(folder, name, open.readOnly | open.directory);
  try {
    if (rest.length > 0 && !clear(inside, rest)) return false;
    if (listDirectory(inside).length > 0) return false;
  } finally {
    closeFile(inside);
  }
  unlinkAt(folder, name, true);
  return true;
}

function restoreTime(root: Root, { above, stat }: { above: string; stat: Stat }): void {
  const folder = root.open(above, open.readOnly | open.directory);
  if (folder === undefined) return;
  try {
    const time = { seconds: stat.mtimeSeconds, nanoseconds: stat.mtimeNanoseconds };
    if (statAt(folder, "").type === "directory") setTimeAt(folder, ".", time);
  } finally {
    closeFile(folder);
  }
}
