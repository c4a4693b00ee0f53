/** What an image has where a volume will be. */
import { opendir } from "node:fs/promises";
import { closeFile, diskFailure, errnoOf, open, openPath, pathOf } from "../sys/mod.ts";
import { type CopyTo, copyRoot, openFolder } from "./copy-tree.ts";

/** True when nothing is in a directory; looked up by another thread. */
export async function isEmpty(path: string): Promise<boolean> {
  const folder = await opendir(path).catch((error) => {
    throw diskFailure(error, "open", path);
  });
  try {
    return (await folder.read()) === null;
  } finally {
    await folder.close();
  }
}

/** What an image has at a path, as a process in it would find it. */
export async function lookInto(rootfs: string, path: string): Promise<"absent" | "empty" | "full"> {
  const folder = openSource(rootfs, path);
  if (folder === undefined) return "absent";
  try {
    return (await isEmpty(pathOf(folder))) ? "empty" : "full";
  } finally {
    closeFile(folder);
  }
}

function openSource(rootfs: string, path: string): number | undefined {
  const root = openPath(rootfs, open.path | open.directory);
  try {
    return openFolder(root, path);
  } catch (error) {
    // A file there, or a link to nothing, gives nothing to copy.
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  } finally {
    closeFile(root);
  }
}

/** Gives `target` the owner, the mode and the attributes of what the image has there. */
export function copyOwnership(rootfs: string, path: string, { target, owners }: CopyTo): void {
  const from = openSource(rootfs, path);
  if (from === undefined) return;
  try {
    const to = openPath(target, open.readOnly | open.directory);
    try {
      copyRoot(from, to, owners);
    } finally {
      closeFile(to);
    }
  } finally {
    closeFile(from);
  }
}
