import { chmodFile, chownFile, closeFile, open, openAt, unlinkAt } from "../sys/mod.ts";
import { targetOf } from "./copy.ts";
import type { Owner } from "./owner.ts";
import { basename, dirname, join } from "./paths.ts";
import { Root } from "./rooted.ts";
import type { Found } from "./tree.ts";

export interface WayRequest {
  /** A mounted root file system. */
  readonly targetRoot: string;
  readonly target: string;
  readonly found: Found;
  readonly owner: Owner;
}

const probe = ".lading-way";

/**
 * Makes the folders that lead to where a source goes, as a copy would, and has overlayfs write them down.
 * Gives its path below the root, without links; undefined when something is there already that the copy
 * would have to be joined with. For a worker.
 */
export function makeWay({ targetRoot, target, found, owner }: WayRequest): string | undefined {
  using root = new Root(targetRoot);
  const isInside = target.endsWith("/") || root.find(target)?.stat.type === "directory";
  const place = join("/", targetOf(target, found, isInside));
  if (!found.isFolder && root.find(place)) return undefined;
  const path = found.isFolder ? place : dirname(place);
  if (found.isFolder && root.names(path).length > 0) return undefined;
  const folder = root.makeFolders(path, (made) => {
    chownFile(made, owner);
    chmodFile(made, 0o755);
  });
  try {
    closeFile(openAt(folder, probe, open.writeOnly | open.create | open.exclusive, 0o600));
    unlinkAt(folder, probe);
  } finally {
    closeFile(folder);
  }
  const real = root.find(path)!.path;
  return found.isFolder ? real : join(real, basename(place));
}
