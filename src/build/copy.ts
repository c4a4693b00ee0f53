import { rmSync } from "node:fs";
import { basename, join } from "./paths.ts";
import { Root } from "./rooted.ts";
import { filterOf } from "./scan.ts";
import { type Found, walk } from "./tree.ts";
import { Writer } from "./writer.ts";

/** What goes where. Plain data: it goes to a worker. */
export interface CopyRequest {
  readonly root: string;
  readonly found: readonly Found[];
  readonly documents: readonly { readonly name: string; readonly content: string }[];
  /** Downloaded files: the name in the image and the time. */
  readonly downloads: readonly { readonly name: string; readonly path: string; mtimeMs: number }[];
  readonly ignore: readonly string[];
  readonly exclude: readonly string[];
  readonly targetRoot: string;
  /** Absolute; ends with "/" when it must be a folder. */
  readonly target: string;
  /** `--chown`, looked up. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly chmod: string;
  /** Keep the owners and extended attributes of the source (a stage's), else 0:0 and none. */
  readonly owners: boolean;
  /** The modification time of all that is copied, seconds since 1970; undefined: the source's. */
  readonly time?: number | undefined;
  /** The source is this copy's alone, and in the mount of the target: large files are moved, the rest goes. */
  readonly moves?: boolean;
}

/** Copies files into a mounted root filesystem. Blocking: for a worker. @throws Failure "invalid" */
export function copy(request: CopyRequest): void {
  using root = new Root(request.root);
  using targetRoot = new Root(request.targetRoot);
  const { owner, owners, chmod, time, moves = false } = request;
  const writer = new Writer(targetRoot, { owner, owners, chmod, time, moves });
  const filter = filterOf(request);
  const { target } = request;
  const isFolder = target.endsWith("/") || targetRoot.find(target)?.stat.type === "directory";
  for (const found of request.found) {
    writer.tree(walk(root, found, filter), targetOf(target, found, isFolder));
  }
  const targetFor = (name: string) => (isFolder ? join(target, name) : target);
  for (const { name, content } of request.documents) {
    writer.bytes(Buffer.from(content), targetFor(name));
  }
  for (const { name, path, mtimeMs } of request.downloads) {
    writer.download(path, { target: targetFor(name), mtimeMs });
  }
  if (moves) rmSync(request.root, { recursive: true, force: true });
}

/** A folder's content goes into the target; a file becomes the target or goes into it. */
export function targetOf(target: string, found: Found, isFolder: boolean): string {
  if (found.keep !== undefined) return join(target, found.keep);
  if (found.isFolder || !isFolder) return target;
  return join(target, basename(found.asked));
}
