import { closeSync, fstatSync, readFileSync } from "node:fs";
import { decodeName, Failure } from "../base/mod.ts";
import {
  atCwd,
  closeFile,
  errnoOf,
  findAt,
  makeDirectoryAt,
  open,
  openPath,
  openWithin,
  pathOf,
  readLinkAt,
  resolve,
  type Stat,
  statAt,
} from "../sys/mod.ts";
import { basename, dirname, join } from "./paths.ts";
import { namesIn } from "./tree.ts";

const linksMax = 40; // the kernel's own bound

/**
 * A folder that somebody else filled: a context or a root filesystem. Paths are followed as if it were
 * "/"; no link in it leads out, not even one that is changed meanwhile (openat2).
 */
export class Root implements Disposable {
  readonly file: number;
  readonly #real: string;

  constructor(path: string) {
    this.file = openPath(path, open.path | open.directory);
    this.#real = this.#pathOf(this.file);
  }

  /** Opens what a path leads to; undefined when nothing is there. The caller closes it. */
  open(path: string, flags: number): number | undefined {
    try {
      return openWithin(this.file, path, { flags, resolve: resolve.inRoot });
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP") return undefined;
      throw error;
    }
  }

  /** What a path leads to: its state and its path below the root, without links. "" is the root. */
  find(path: string): { path: string; stat: Stat } | undefined {
    const file = this.open(path, open.path);
    if (file === undefined) return undefined;
    try {
      const real = this.#pathOf(file);
      return { path: real.slice(this.#real.length).replace(/^\//, ""), stat: statAt(file, "") };
    } finally {
      closeFile(file);
    }
  }

  /** What is in a folder, sorted; nothing when there is none. */
  names(path: string): string[] {
    const folder = this.open(path, open.readOnly | open.directory);
    if (folder === undefined) return [];
    try {
      return namesIn(folder);
    } finally {
      closeFile(folder);
    }
  }

  /** The text of a file, undefined when there is none. @throws Failure "exhausted" over the bound */
  text(path: string, bytesMax: number): string | undefined {
    const file = this.open(path, open.readOnly | open.nonBlock);
    if (file === undefined) return undefined;
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) return undefined;
      if (stat.size <= bytesMax) return readFileSync(file, "utf8");
      throw new Failure("exhausted", `Cannot read "${path}": more than ${bytesMax} bytes`);
    } finally {
      closeSync(file);
    }
  }

  /**
   * Makes a folder and those above it that are missing (mode 0755), and opens it: the caller closes it.
   * `made` is told the descriptor of each new one.
   * @throws Failure "invalid" — something else than a folder is in the way
   */
  makeFolders(path: string, made: (folder: number) => void = () => undefined): number {
    return this.#makeFolders(path, made, 0);
  }

  #makeFolders(path: string, made: (folder: number) => void, links: number): number {
    const flags = open.readOnly | open.directory;
    const there = this.open(path, flags);
    if (there !== undefined) return there;
    const clean = join("/", path);
    const refuse = () =>
      new Failure("invalid", `Cannot make the folder "${clean}": something else is there`);
    if (clean === "/" || links > linksMax) throw refuse();
    const name = basename(clean);
    const above = this.#makeFolders(dirname(clean), made, links);
    try {
      const entry = findAt(above, name);
      if (entry?.type === "symlink") {
        // A link to a folder that is not there yet: make that, inside the root.
        const real = this.#pathOf(above).slice(this.#real.length);
        const link = decodeName(readLinkAt(above, name));
        const target = link.startsWith("/") ? link : join("/", real, link);
        return this.#makeFolders(target, made, links + 1);
      }
      if (entry) throw refuse();
      makeDirectoryAt(above, name, 0o755);
      const folder = openWithin(above, name, { flags, resolve: resolve.noSymlinks });
      made(folder);
      return folder;
    } finally {
      closeFile(above);
    }
  }

  #pathOf(file: number): string {
    return decodeName(readLinkAt(atCwd, pathOf(file)));
  }

  [Symbol.dispose](): void {
    closeFile(this.file);
  }
}
