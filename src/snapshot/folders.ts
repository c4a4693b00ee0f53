import { Failure } from "../base/mod.ts";
import {
  chmodAt,
  closeFile,
  errnoOf,
  findAt,
  makeDirectoryAt,
  open,
  openWithin,
  pathOf,
  resolve,
  setXattr,
  unlinkAt,
} from "../sys/mod.ts";
import { isWhiteout, opaqueValue, opaqueXattr } from "./whiteout.ts";

const openMax = 64;
const folderFlags = open.path | open.directory;

/** `a/b/c` as its folder `a/b` and its name `c`. */
export function splitPath(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: slash < 0 ? "" : path.slice(0, slash), name: path.slice(slash + 1) };
}

/**
 * The folders below a root, opened by path and kept open, a few at a time. Symbolic links in a path
 * end inside the root, whoever made them and whenever.
 */
export class Folders implements Disposable {
  readonly #open = new Map<string, number>();
  /** What was forgotten, while the caller may still have work to do in it. */
  #stale: number[] = [];
  readonly root: number;
  readonly #isOverlay: boolean;

  /** Takes over `root`, an open directory. `isOverlay`: a mark of deletion may be replaced. */
  constructor(root: number, isOverlay: boolean) {
    this.root = root;
    this.#isOverlay = isOverlay;
  }

  /** A folder's descriptor, valid for a few calls of this more, and after `forget`. @throws Failure "not_found" | "invalid" */
  find(path: string): number {
    this.#closeStale();
    if (path === "") return this.root;
    const known = this.#open.get(path);
    if (known !== undefined) {
      this.#open.delete(path); // to the end: the one used last is closed last
      this.#open.set(path, known);
      return known;
    }
    const file = openWithin(this.root, path, { flags: folderFlags, resolve: resolve.inRoot });
    this.#keep(path, file);
    return file;
  }

  /** As `find`, but makes what is missing of the path: mode 0755, of root. */
  make(path: string): number {
    try {
      return this.find(path);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== "ENOENT" && errno !== "ENOTDIR") throw error;
    }
    const { folder, name } = splitPath(path);
    const parent = this.make(folder);
    const found = findAt(parent, name);
    if (found && !(this.#isOverlay && isWhiteout(found))) {
      const what = found.type === "symlink" ? "a symbolic link to no folder" : "no folder";
      throw new Failure("invalid", `Cannot unpack below "${path}": it is ${what}`);
    }
    if (found) unlinkAt(parent, name);
    makeDirectoryAt(parent, name, 0o755);
    chmodAt(parent, name, 0o755); // whatever the umask
    if (found) setXattr(`${pathOf(parent)}/${name}`, opaqueXattr, opaqueValue);
    return this.find(path);
  }

  /** Forgets what is open: call it when a folder was removed or a name now means something else. */
  forget(): void {
    this.#stale.push(...this.#open.values());
    this.#open.clear();
  }

  [Symbol.dispose](): void {
    this.forget();
    this.#closeStale();
    closeFile(this.root);
  }

  #closeStale(): void {
    for (const file of this.#stale) closeFile(file);
    this.#stale = [];
  }

  #keep(path: string, file: number): void {
    if (this.#open.size >= openMax) {
      const [oldest, oldFile] = this.#open.entries().next().value!;
      closeFile(oldFile);
      this.#open.delete(oldest);
    }
    this.#open.set(path, file);
  }
}
