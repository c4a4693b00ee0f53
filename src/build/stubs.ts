import { lutimesSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { posix } from "node:path";
import { lstatIfThere, resolveInside } from "./rooted.ts";

/**
 * What stood at a mount point before a RUN. The runtime makes empty files and folders to mount on; they
 * are not the user's and must not reach the layer.
 */
export interface Stub {
  /** Below the root, without links: the first part that was missing. */
  readonly path: string;
  /** All parts that were missing, deepest first. */
  readonly missing: readonly string[];
  /** Modification time of the folder above. */
  readonly aboveMtimeMs: number;
}

/** Notes which of the mount points are missing now. Blocking: for a worker. */
export function noteStubs(root: string, paths: readonly string[]): Stub[] {
  return paths.flatMap((path) => {
    const parts = path.split("/").filter((part) => part !== "");
    const missing: string[] = [];
    let above = root;
    for (let depth = 1; depth <= parts.length; depth++) {
      const place = resolveInside(root, parts.slice(0, depth).join("/"), { followLast: true });
      if (!place.stat) missing.unshift(place.path);
      else above = place.full;
    }
    if (missing.length === 0) return [];
    return [{ path: missing.at(-1)!, missing, aboveMtimeMs: lstatIfThere(above)!.mtimeMs }];
  });
}

/** Takes away those that are still empty, and gives the folder above its time back. */
export function clearStubs(root: string, stubs: readonly Stub[]): void {
  const above = new Map<string, number>();
  for (const { path, missing, aboveMtimeMs } of stubs) {
    const folder = posix.dirname(`${root}/${path}`);
    const cleared = missing.filter((part) => clear(`${root}/${part}`));
    if (cleared.includes(path))
      above.set(folder, Math.min(above.get(folder) ?? Infinity, aboveMtimeMs));
  }
  for (const [folder, mtimeMs] of above) {
    if (lstatIfThere(folder)) lutimesSync(folder, mtimeMs / 1000, mtimeMs / 1000);
  }
}

function clear(full: string): boolean {
  const stat = lstatIfThere(full);
  if (!stat) return true; // another stub's folder took it along, or the command removed it
  if (stat.isDirectory()) {
    if (readdirSync(full).length > 0) return false;
    rmdirSync(full);
    return true;
  }
  if (!stat.isFile() || stat.size > 0) return false;
  unlinkSync(full);
  return true;
}
