import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import {
  closeFile,
  errnoOf,
  makeDirectoryAt,
  open,
  openAt,
  openPath,
  openWithin,
  resolve,
  symlinkAt,
} from "../sys/mod.ts";

const absences = ["ENOENT", "ENOTDIR", "ELOOP", "EACCES"];

/** Runs `task` with a descriptor of the directory `root`, a trusted path. */
export function withRoot<T>(root: string, task: (directory: number) => T): T {
  const directory = openPath(root, open.path);
  try {
    return task(directory);
  } finally {
    closeFile(directory);
  }
}

/**
 * Opens a path in a root that is not ours: links in it end inside, as if the root were "/". The result is
 * an O_PATH descriptor; it does nothing to what it stands for. Undefined where nothing is.
 */
export function findInRoot(directory: number, path: string, flags = 0): number | undefined {
  try {
    return openWithin(directory, path, { flags: open.path | flags, resolve: resolve.inRoot });
  } catch (error) {
    if (absences.includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

/** Where older programs look for what is mounted, and what they find there. */
export const mountTable = { path: "/etc/mtab", target: "/proc/mounts" } as const;

/**
 * Makes what is in every container: a file by which programs tell that they are in one, and the link
 * that programs of old read for what is mounted. What the image has there is left as it is.
 */
export function markRoot(root: string): void {
  withRoot(root, (directory) => {
    const flags = open.writeOnly | open.create | open.exclusive;
    unlessThere(() => closeFile(openAt(directory, ".dockerenv", flags, 0o755)));
    makeBelow(directory, posix.dirname(mountTable.path));
    const parent = findInRoot(directory, posix.dirname(mountTable.path), open.directory);
    if (parent === undefined) return; // the image has no folder there, but something else
    try {
      unlessThere(() => symlinkAt(mountTable.target, parent, posix.basename(mountTable.path)));
    } finally {
      closeFile(parent);
    }
  });
}

function unlessThere(make: () => void): void {
  try {
    make();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "EEXIST") return;
    if (errno !== "EROFS" && errno !== "ENOSPC") throw error;
    // overlayfs falls back to read-only where it cannot make its own folders.
    const why = "no space left on device, or it is read-only";
    throw new Failure("exhausted", `Cannot write to the root filesystem: ${why}`, { cause: error });
  }
}

/** Makes a directory inside a root, with those above it. What is there already is left as it is. */
export function makeDirectory(root: string, path: string): void {
  withRoot(root, (directory) => makeBelow(directory, posix.normalize(`/${path}`)));
}

function makeBelow(directory: number, path: string): void {
  const found = findInRoot(directory, path);
  if (found !== undefined) {
    closeFile(found);
    return;
  }
  makeBelow(directory, posix.dirname(path));
  const parent = openWithin(directory, posix.dirname(path), {
    flags: open.path | open.directory,
    resolve: resolve.inRoot,
  });
  try {
    makeDirectoryAt(parent, posix.basename(path), 0o755);
  } catch (error) {
    // A link that leads nowhere has the name: the runtime will say that it cannot go there.
    if (errnoOf(error) !== "EEXIST") throw error;
  } finally {
    closeFile(parent);
  }
}
