import { lstatSync, mkdirSync, readlinkSync, type Stats } from "node:fs";
import { Failure } from "../base/mod.ts";

/** Where a path leads inside a root: symlinks are followed as if the root were "/". */
export interface Place {
  /** Relative to the root, without links in it (but for the last part, if that was not followed). */
  readonly path: string;
  readonly full: string;
  /** Undefined: nothing is there. */
  readonly stat: Stats | undefined;
}

const linksMax = 40; // the kernel's own bound

/**
 * Follows a path inside `root`. Nothing leads out: ".." and absolute links stop at the root. Nobody may
 * change the tree meanwhile: contexts and snapshots are ours while a step works on them.
 * @throws Failure "invalid" — more than 40 links, or a file in the middle of the path
 */
export function resolveInside(
  root: string,
  path: string,
  { followLast }: { followLast: boolean },
): Place {
  const pending = path.split("/");
  let real: string[] = [];
  let links = 0;
  let stat: Stats | undefined = lstatSync(root);
  while (pending.length > 0) {
    const part = pending.shift()!;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      real.pop();
      stat = lstatIfThere(join(root, real));
      continue;
    }
    if (stat && !stat.isDirectory()) {
      throw new Failure("invalid", `Cannot use "${path}": "/${real.join("/")}" is not a directory`);
    }
    real.push(part);
    stat = stat && lstatIfThere(join(root, real));
    const isLast = pending.every((rest) => rest === "" || rest === ".");
    if (!stat?.isSymbolicLink() || (isLast && !followLast)) continue;
    if (++links > linksMax) {
      throw new Failure("invalid", `Cannot use "${path}": too many levels of symbolic links`);
    }
    const target = readlinkSync(join(root, real));
    real = target.startsWith("/") ? [] : real.slice(0, -1);
    stat = lstatIfThere(join(root, real));
    pending.unshift(...target.split("/"));
  }
  return { path: real.join("/"), full: join(root, real), stat };
}

/** The entry itself, not what a link leads to; undefined when it is absent. */
export function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function join(root: string, parts: readonly string[]): string {
  return parts.length === 0 ? root : `${root}/${parts.join("/")}`;
}

/**
 * Makes the folder at `path` inside `root` and those above it that are missing; tells how many it made.
 * @throws Failure "invalid" — something else than a folder is in the way
 */
export function makeFolders(
  root: string,
  path: string,
  made?: (full: string) => void,
): { place: Place; count: number } {
  let count = 0;
  let at = "";
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    const place = resolveInside(root, `${at}/${part}`, { followLast: true });
    if (!place.stat) {
      mkdirSync(place.full, { recursive: true, mode: 0o755 }); // a dangling link's folder may be deep
      made?.(place.full);
      count++;
    } else if (!place.stat.isDirectory()) {
      throw new Failure("invalid", `Cannot make "${path}": "/${place.path}" is not a directory`);
    }
    at = place.path;
  }
  return { place: resolveInside(root, at, { followLast: true }), count };
}
