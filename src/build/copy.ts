import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { type ChangeMode, parseChmod } from "./chmod.ts";
import { findOwner } from "./passwd.ts";
import { lstatIfThere, makeFolders, resolveInside } from "./rooted.ts";
import { filterOf } from "./scan.ts";
import { type Entry, type Found, linkTarget, walk } from "./tree.ts";

/** What goes where. Plain data: it goes to a worker. */
export interface CopyRequest {
  readonly root: string;
  readonly found: readonly Found[];
  readonly documents: readonly { readonly name: string; readonly content: string }[];
  /** A downloaded file: its name in the image, its mode and time. */
  readonly downloads: readonly { readonly name: string; readonly path: string; mtimeMs: number }[];
  readonly ignore: readonly string[];
  readonly exclude: readonly string[];
  readonly targetRoot: string;
  /** Absolute; ends with "/" when it must be a folder. */
  readonly target: string;
  /** `--chown` as written, "" for none. */
  readonly chown: string;
  readonly chmod: string;
  /** Keep the owners of the source (a stage's), else 0:0. */
  readonly owners: boolean;
  /** ADD: archives are unpacked, not copied. */
  readonly unpack: boolean;
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Copies files into a mounted root filesystem. Blocking: for a worker. @throws Failure "invalid" */
export function copy(request: CopyRequest): { archives: { path: string; target: string }[] } {
  const owner = request.chown === "" ? undefined : findOwner(request.targetRoot, request.chown);
  const writer = new Writer(request, owner);
  const filter = filterOf(request);
  const archives: { path: string; target: string }[] = [];
  const place = resolveInside(request.targetRoot, request.target, { followLast: true });
  const asked = request.target.endsWith("/") || request.target.endsWith("/.");
  const isFolder = asked || place.stat?.isDirectory() === true;
  for (const found of request.found) {
    if (request.unpack && found.isArchive) {
      const folder = writer.folder(request.target);
      archives.push({ path: `${request.root}/${found.path}`, target: folder });
      continue;
    }
    const target = targetOf(request.target, found, isFolder);
    writer.tree(walk(request.root, found, filter), target);
  }
  const targetFor = (name: string) =>
    isFolder ? posix.join(request.target, name) : request.target;
  for (const { name, content } of request.documents) {
    writer.bytes(Buffer.from(content), { target: targetFor(name), mode: 0o644 });
  }
  for (const { name, path, mtimeMs } of request.downloads) {
    writer.download(path, { target: targetFor(name), mtimeMs });
  }
  return { archives };
}

/** A folder's content goes into the target; a file becomes the target or goes into it. */
function targetOf(target: string, found: Found, isFolder: boolean): string {
  if (found.keep !== undefined) return posix.join(target, found.keep);
  if (found.isFolder || !isFolder) return target;
  return posix.join(target, posix.basename(found.asked));
}

/** Writes below one root with one owner and mode; remembers hard links within the copy. */
class Writer {
  readonly #root: string;
  readonly #owner: Owner | undefined;
  readonly #owners: boolean;
  readonly #chmod: ChangeMode | undefined;
  readonly #links = new Map<string, string>();
  readonly #block = new Uint8Array(256 << 10);

  constructor(request: CopyRequest, owner: Owner | undefined) {
    this.#root = request.targetRoot;
    this.#owner = owner;
    this.#owners = request.owners;
    this.#chmod = request.chmod === "" ? undefined : parseChmod(request.chmod);
  }

  /** A folder in the image, made with those above it; the full path. */
  folder(path: string): string {
    const { place } = makeFolders(this.#root, path, (full) => {
      const { uid, gid } = this.#owner ?? { uid: 0, gid: 0 };
      chownSync(full, uid, gid);
      chmodSync(full, this.#chmod ? this.#chmod(0o755, true) : 0o755);
    });
    return place.full;
  }

  /** One walk: a file at `target`, or a folder's content below it. */
  tree(entries: Iterable<Entry>, target: string): void {
    const folders: { full: string; stat: Stats }[] = [];
    const made = new Map<string, string>(); // folder of the walk → full path in the image
    for (const entry of entries) {
      if (entry.path === "") {
        if (entry.stat.isDirectory()) made.set("", this.folder(target));
        else this.#file(entry, this.#place(target));
        continue;
      }
      const above = posix.dirname(entry.path);
      const parent = made.get(above === "." ? "" : above)!;
      const full = `${parent}/${posix.basename(entry.path)}`;
      if (!entry.stat.isDirectory()) {
        this.#file(entry, full);
        continue;
      }
      const real = this.#subfolder(full);
      made.set(entry.path, real);
      folders.push({ full: real, stat: entry.stat });
    }
    // Children first: writing into a folder changes its time.
    for (const { full, stat } of folders.reverse()) this.#finishFolder(full, stat);
  }

  bytes(content: Uint8Array, { target, mode }: { target: string; mode: number }): void {
    const full = this.#place(target);
    this.#clear(full);
    const file = openSync(full, createFlags, 0o600);
    try {
      for (let at = 0; at < content.length; ) at += writeSync(file, content, at);
      this.#finish(file, { mode, uid: 0, gid: 0 });
    } finally {
      closeSync(file);
    }
  }

  download(path: string, { target, mtimeMs }: { target: string; mtimeMs: number }): void {
    const full = this.#place(target);
    this.#clear(full);
    copyFileSync(path, full, constants.COPYFILE_EXCL);
    const file = openSync(full, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      this.#finish(file, { mode: 0o600, uid: 0, gid: 0 }, mtimeMs);
    } finally {
      closeSync(file);
    }
  }

  /** Where a file of this path goes: the folder above exists, links in the path are followed inside. */
  #place(target: string): string {
    this.folder(posix.dirname(target));
    return resolveInside(this.#root, target, { followLast: true }).full;
  }

  #subfolder(full: string): string {
    const stat = lstatIfThere(full);
    if (stat?.isDirectory()) return full;
    if (stat?.isSymbolicLink()) {
      const inside = full.slice(this.#root.length);
      const place = resolveInside(this.#root, inside, { followLast: true });
      if (place.stat?.isDirectory()) return place.full;
    }
    if (stat) {
      const path = full.slice(this.#root.length);
      throw new Failure("invalid", `cannot copy to non-directory: ${path}`);
    }
    mkdirSync(full, 0o700);
    return full;
  }

  #clear(full: string): void {
    const stat = lstatIfThere(full);
    if (!stat) return;
    if (stat.isDirectory()) {
      const path = full.slice(this.#root.length);
      throw new Failure("invalid", `cannot replace to directory ${path} with file`);
    }
    unlinkSync(full);
  }

  #file({ full: source, stat }: Entry, full: string): void {
    this.#clear(full);
    if (stat.isSymbolicLink()) {
      symlinkSync(linkTarget(source), full);
      const { uid, gid } = this.#ownerOf(stat);
      lchownSync(full, uid, gid);
      lutimesSync(full, stat.mtimeMs / 1000, stat.mtimeMs / 1000);
      return;
    }
    if (!stat.isFile()) {
      if (stat.isSocket()) return; // a socket without its process is nothing
      throw new Failure("unsupported", `Cannot copy "${source}": it is a device or a named pipe`);
    }
    const inode = `${stat.dev}:${stat.ino}`;
    const linked = stat.nlink > 1 ? this.#links.get(inode) : undefined;
    if (linked !== undefined) {
      linkSync(linked, full);
      return;
    }
    this.#regular(source, stat, full);
    if (stat.nlink > 1) this.#links.set(inode, full);
  }

  #regular(source: string, stat: Stats, full: string): void {
    if (stat.size > bigBytes) copyFileSync(source, full, constants.COPYFILE_EXCL);
    const flags = stat.size > bigBytes ? constants.O_RDWR | constants.O_NOFOLLOW : createFlags;
    const file = openSync(full, flags, 0o600);
    try {
      if (stat.size <= bigBytes && stat.size > 0) this.#content(source, file);
      this.#finish(file, { mode: stat.mode & 0o7777, ...this.#ownerOf(stat) }, stat.mtimeMs);
    } finally {
      closeSync(file);
    }
  }

  #content(source: string, file: number): void {
    const from = openSync(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      for (;;) {
        const length = readSync(from, this.#block);
        if (length === 0) return;
        for (let at = 0; at < length; ) at += writeSync(file, this.#block, at, length - at);
        if (length < this.#block.length) return;
      }
    } finally {
      closeSync(from);
    }
  }

  #finish(file: number, about: Owner & { mode: number }, mtimeMs?: number): void {
    const { uid, gid } = this.#owner ?? about;
    fchownSync(file, uid, gid);
    fchmodSync(file, this.#chmod ? this.#chmod(about.mode, false) : about.mode);
    if (mtimeMs !== undefined) futimesSync(file, mtimeMs / 1000, mtimeMs / 1000);
  }

  #finishFolder(full: string, stat: Stats): void {
    const { uid, gid } = this.#ownerOf(stat);
    chownSync(full, uid, gid);
    const mode = stat.mode & 0o7777;
    chmodSync(full, this.#chmod ? this.#chmod(mode, true) : mode);
    utimesSync(full, stat.mtimeMs / 1000, stat.mtimeMs / 1000);
  }

  #ownerOf(stat: Stats): Owner {
    return this.#owner ?? (this.#owners ? stat : { uid: 0, gid: 0 });
  }
}

const bigBytes = 1 << 20;
const createFlags =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
