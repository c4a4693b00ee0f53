import { posix } from "node:path";
import {
  closeFile,
  errnoOf,
  makeDirectoryAt,
  open,
  openAt,
  openPath,
  openWithin,
  pathOf,
  readInto,
  resolve,
  statAt,
} from "../sys/mod.ts";

/** /etc/passwd and /etc/group of an image; more is not read. */
const textBytesMax = 1 << 20;
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

/** The text of a small regular file inside a root; "" when there is none. */
export function readRootText(root: string, path: string): string {
  return withRoot(root, (directory) => {
    const place = findInRoot(directory, path);
    if (place === undefined) return "";
    try {
      // Looked at before it is opened: opening a device or a FIFO has effects.
      if (statAt(place, "").type !== "file") return "";
      return readText(openPath(pathOf(place), open.readOnly));
    } finally {
      closeFile(place);
    }
  });
}

function readText(file: number): string {
  try {
    const bytes = Buffer.alloc(Math.min(statAt(file, "").sizeBytes, textBytesMax));
    let length = 0;
    for (let count = -1; count !== 0 && length < bytes.length; length += count) {
      count = readInto(file, bytes.subarray(length), length);
    }
    return bytes.toString("utf8", 0, length);
  } finally {
    closeFile(file);
  }
}

/** Programs look for this file to tell whether they are in a container. */
export function markRoot(root: string): void {
  withRoot(root, (directory) => {
    try {
      const flags = open.writeOnly | open.create | open.exclusive;
      closeFile(openAt(directory, ".dockerenv", flags, 0o755));
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
  });
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
