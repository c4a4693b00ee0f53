import {
  closeFile,
  findAt,
  getXattr,
  listDirectory,
  open,
  openPath,
  openWithin,
  pathOf,
  resolve,
  type Stat,
} from "../sys/mod.ts";
import { splitPath } from "./folders.ts";
import type { ChangeKind } from "./types.ts";
import { isWhiteout, opaqueXattr } from "./whiteout.ts";

export interface Change {
  readonly path: string;
  readonly kind: ChangeKind;
}

const modified = 0;
const added = 1;
const deleted = 2;
const folderFlags = open.readOnly | open.directory;

/** A writable layer and what lies below it, both as open directories. */
export interface Trees {
  readonly upper: number;
  readonly lower: number;
  /** Paths in `upper`, each `a/b`, that are no change of the container's. */
  readonly leftOut: ReadonlySet<string>;
}

/**
 * What an overlay's upper directory changes against the directory below it, sorted by path, with
 * Docker's rules: a directory is modified when something in it is; of what was deleted only the top
 * is named; a file that was opened for writing and left as it was is no change.
 */
export function listChanges(
  upperPath: string,
  lowerPath: string,
  leftOut: ReadonlySet<string> = new Set(),
): Change[] {
  return withTrees(upperPath, lowerPath, leftOut, (trees) =>
    changesIn(trees, "", true).sort((a, b) => (a.path < b.path ? -1 : 1)),
  );
}

export function withTrees<T>(
  upperPath: string,
  lowerPath: string,
  leftOut: ReadonlySet<string>,
  act: (trees: Trees) => T,
): T {
  const upper = openPath(upperPath, open.path | open.directory);
  try {
    const lower = openPath(lowerPath, open.path | open.directory);
    try {
      return act({ upper, lower, leftOut });
    } finally {
      closeFile(lower);
    }
  } finally {
    closeFile(upper);
  }
}

export const openFolder = (root: number, path: string) =>
  openWithin(root, path, { flags: folderFlags, resolve: resolve.beneath | resolve.noSymlinks });

function changesIn(trees: Trees, path: string, hasLower: boolean): Change[] {
  const upper = openFolder(trees.upper, path);
  let lower = -1;
  try {
    lower = hasLower ? openFolder(trees.lower, path) : -1;
    const names = listDirectory(upper).map(({ name }) => name);
    const found = names.flatMap((name) => {
      const below = lower < 0 ? undefined : findAt(lower, name);
      return changeOf(trees, { path: `${path}/${name}`.replace(/^\//, ""), upper, name, below });
    });
    if (lower >= 0 && isOpaque(upper)) found.push(...hidden(lower, new Set(names), path));
    return found;
  } finally {
    if (lower >= 0) closeFile(lower);
    closeFile(upper);
  }
}

interface Candidate {
  readonly path: string;
  readonly upper: number;
  readonly name: string;
  readonly below: Stat | undefined;
}

function changeOf(trees: Trees, { path, upper, name, below }: Candidate): Change[] {
  const stat = trees.leftOut.has(path) ? undefined : findAt(upper, name);
  if (!stat) return [];
  const full = `/${path}`;
  if (isWhiteout(stat)) return below ? [{ path: full, kind: deleted }] : [];
  const inside =
    stat.type === "directory" ? changesIn(trees, path, below?.type === "directory") : [];
  if (!below) return [{ path: full, kind: added }, ...inside];
  const isChanged = inside.length > 0 || differs(stat, below);
  const isSame = !isChanged && sameCapability(trees, path, stat);
  return isSame ? [] : [{ path: full, kind: modified }, ...inside];
}

/** What an opaque directory hides of the one below. */
function hidden(lower: number, names: ReadonlySet<string>, path: string): Change[] {
  return listDirectory(lower)
    .filter(({ name }) => !names.has(name))
    .map(({ name }) => ({ path: `/${path === "" ? "" : `${path}/`}${name}`, kind: deleted }));
}

export const isOpaque = (folder: number) =>
  getXattr(`${pathOf(folder)}/.`, opaqueXattr)?.toString() === "y";

/** Docker's comparison: a directory's size and time say nothing; a time may have lost its fraction. */
function differs(a: Stat, b: Stat): boolean {
  return (
    !sameAttributes(a, b) ||
    (a.type !== "directory" && (a.sizeBytes !== b.sizeBytes || !sameTime(a, b)))
  );
}

export function sameAttributes(a: Stat, b: Stat): boolean {
  return (
    a.type === b.type &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.deviceMajor === b.deviceMajor &&
    a.deviceMinor === b.deviceMinor
  );
}

function sameTime(a: Stat, b: Stat): boolean {
  if (a.mtimeSeconds !== b.mtimeSeconds) return false;
  const [one, two] = [a.mtimeNanoseconds, b.mtimeNanoseconds];
  return one === two || one === 0 || two === 0;
}

function sameCapability(trees: Trees, path: string, { type }: Stat): boolean {
  if (type !== "file") return true;
  const [above, below] = [trees.upper, trees.lower].map((root) => {
    const { folder, name } = splitPath(path);
    const parent = openFolder(root, folder);
    try {
      return getXattr(`${pathOf(parent)}/${name}`, "security.capability")?.toString("hex");
    } finally {
      closeFile(parent);
    }
  });
  return above === below;
}
