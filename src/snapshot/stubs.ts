import { closeFile, errnoOf, findAt, listDirectory, type Stat, unlinkAt } from "../sys/mod.ts";
import { isOpaque, openFolder, sameAttributes, type Trees, withTrees } from "./changes.ts";
import { splitPath } from "./folders.ts";

/**
 * Finds what a runtime left in an upper directory where it mounted something: at each of `paths` an
 * empty file, a link or an empty directory, and the folders above it that are there for its sake alone. Those inside
 * others come first. Docker has such files in a layer of their own and shows them nowhere.
 */
export function findStubs(
  upperPath: string,
  lowerPath: string,
  paths: readonly string[],
): ReadonlySet<string> {
  const found = new Set<string>();
  const clean = paths.map((path) => path.replace(/^\/+|\/+$/g, "")).filter((path) => path !== "");
  withTrees(upperPath, lowerPath, found, (trees) => {
    for (const mountPoint of [...new Set(clean)].sort().reverse()) {
      for (let path = mountPoint; path !== ""; path = splitPath(path).folder) {
        if (found.has(path)) continue;
        if (!isStub(trees, path, path === mountPoint, found)) break;
        found.add(path);
      }
    }
  });
  return found;
}

/** Removes what `findStubs` found; what has come into use meanwhile stays. */
export function removeStubs(upperPath: string, stubs: ReadonlySet<string>): void {
  withTrees(upperPath, upperPath, stubs, ({ upper }) => {
    for (const path of stubs) {
      const { folder, name } = splitPath(path);
      const parent = openFolder(upper, folder);
      try {
        unlinkAt(parent, name, findAt(parent, name)?.type === "directory");
      } finally {
        closeFile(parent);
      }
    }
  });
}

function isStub(
  trees: Trees,
  path: string,
  isMountPoint: boolean,
  found: ReadonlySet<string>,
): boolean {
  const stat = statBelow(trees.upper, path);
  if (!stat) return false;
  const below = statBelow(trees.lower, path);
  if (stat.type === "file") return isMountPoint && stat.sizeBytes === 0 && !below;
  if (stat.type === "symlink") return isMountPoint && !below;
  if (stat.type !== "directory" || (below && !sameAttributes(stat, below))) return false;
  const folder = openFolder(trees.upper, path);
  try {
    if (below && isOpaque(folder)) return false;
    return listDirectory(folder).every(({ name }) => found.has(`${path}/${name}`));
  } finally {
    closeFile(folder);
  }
}

function statBelow(root: number, path: string): Stat | undefined {
  const { folder, name } = splitPath(path);
  try {
    const parent = openFolder(root, folder);
    try {
      return findAt(parent, name);
    } finally {
      closeFile(parent);
    }
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}
