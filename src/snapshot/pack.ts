import { noXattrs, type TarHeader } from "../archive/mod.ts";
import { decodeName, Failure } from "../base/mod.ts";
import {
  attributeInside,
  closeFile,
  errnoOf,
  getXattr,
  type IdMap,
  listDirectory,
  listXattrs,
  nextData,
  type Owner,
  open,
  openAt,
  openPath,
  openWithin,
  ownerInside,
  pathOf,
  readInto,
  readLinkAt,
  resolve,
  type Stat,
  setTimeAt,
  statAt,
} from "../sys/mod.ts";
import { isWhiteout, opaqueName, opaqueXattr, whiteoutPrefix } from "./whiteout.ts";

/** What takes the entries of a tree: a tar, its hash, a copy. Called in order, on this thread. */
export interface PackSink {
  entry(header: TarHeader): void;
  /** Content at `offset`; a view that lives until the call returns. */
  data(bytes: Uint8Array, offset: number): void;
  /** Zeros from `offset` on, which need not be written. */
  hole(offset: number, sizeBytes: number): void;
  end(): void;
}

/** How a tree becomes an archive. Plain data, so that it can be sent to a worker. */
export interface PackRules {
  /** What is packed, `a/b` in the root: a directory with all below it, or one file. Default: all. */
  readonly path?: string;
  /** The path that it gets in the archive. "" (the default) leaves out an entry for the directory itself. */
  readonly as?: string;
  /** overlayfs's marks of deletion become `.wh.` names: for the directory of a layer. */
  readonly whiteouts?: boolean;
  /** Paths that are left out with all below them, each `a/b` in the root. */
  readonly exclude?: readonly string[];
  /** Directories that are packed without what is in them, each `a/b` in the root. */
  readonly bare?: readonly string[];
  /** An entry "." for the root itself comes first. */
  readonly withRoot?: boolean;
  /** No modification time is later than this: seconds since 1970. */
  readonly timeMax?: number;
  /** Files that are later than `timeMax` get it on the disk as well. */
  readonly settle?: boolean;
  /** Times to the nanosecond. Default: whole seconds, as Docker's layers have them. */
  readonly nanoseconds?: boolean;
  /** Who owns every entry. Default: as the files say. */
  readonly owner?: Owner;
  /** The tree is seen from outside a user namespace with this map: its archive is as from inside. */
  readonly owners?: IdMap | undefined;
}

/** What is neither a directory nor a deletion. */
interface One {
  readonly folder: number;
  readonly name: string;
  readonly stat: Stat;
  /** Its path in the archive. */
  readonly as: string;
}

const keptXattrs = (name: string) => name.startsWith("user.") || name === "security.capability";
const blockBytes = 1 << 20;
/** Of the names of files that have several. */
const linkBytesMax = 128 << 20;

/**
 * Gives a tree to a sink in canonical order: a directory before what is in it, names by UTF-16 code
 * unit, the first name of a file with its content and the later ones as links to it. Sockets are left
 * out, as Docker does. What changes meanwhile gives an archive that is well formed all the same.
 */
export class Packer {
  readonly #rules: PackRules;
  readonly #sink: PackSink;
  readonly #root: number;
  readonly #links = new Map<string, string>();
  #linkBytes = 0;
  readonly #exclude: Set<string>;
  readonly #block = Buffer.allocUnsafe(blockBytes);
  readonly #abort: () => void;

  constructor(root: number, sink: PackSink, rules: PackRules, abort: () => void = () => {}) {
    this.#root = root;
    this.#sink = sink;
    this.#rules = rules;
    this.#exclude = new Set(rules.exclude);
    this.#abort = abort;
  }

  /** @throws Failure "not_found" — `path` is absent; "invalid" — a name that stands for a deletion */
  run(): void {
    const { path = "", as = "" } = this.#rules;
    const file = openWithin(this.#root, path, {
      flags: open.path | open.noFollow,
      resolve: resolve.inRoot,
    });
    try {
      const stat = statAt(file, "");
      if (stat.type === "directory") {
        const own = as === "" && this.#rules.withRoot ? "." : as;
        if (own !== "") this.#sinkEntry(this.#header(stat, own, this.#xattrs(`${pathOf(file)}/.`)));
        this.#directory(path, as);
        return;
      }
    } finally {
      closeFile(file);
    }
    const slash = path.lastIndexOf("/");
    const folder = openWithin(this.#root, path.slice(0, Math.max(slash, 0)), {
      flags: open.path | open.directory,
      resolve: resolve.inRoot,
    });
    try {
      const name = path.slice(slash + 1);
      this.#one({ folder, name, stat: statAt(folder, name), as });
    } finally {
      closeFile(folder);
    }
  }

  #directory(path: string, as: string): void {
    if (this.#rules.bare?.includes(path)) return;
    let folder: number;
    const how = { flags: open.readOnly | open.directory, resolve: resolve.inRoot };
    try {
      folder = openWithin(this.#root, path, how);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    try {
      if (
        this.#rules.whiteouts &&
        getXattr(`${pathOf(folder)}/.`, opaqueXattr)?.toString() === "y"
      ) {
        this.#sinkEntry(this.#header(noStat, join(as, opaqueName)));
      }
      const names = listDirectory(folder).map(({ name }) => name);
      for (const name of names.sort(byCodeUnit)) this.#child(folder, name, { path, as });
    } finally {
      closeFile(folder);
    }
  }

  #child(folder: number, name: string, parent: { path: string; as: string }): void {
    this.#abort();
    const path = join(parent.path, name);
    if (this.#exclude.has(path)) return;
    let stat: Stat;
    try {
      stat = statAt(folder, name);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    const as = join(parent.as, name);
    if (this.#rules.settle) this.#settle(folder, name, stat);
    if (this.#rules.whiteouts) {
      if (isWhiteout(stat)) {
        this.#sinkEntry(this.#header(noStat, join(parent.as, `${whiteoutPrefix}${name}`)));
        return;
      }
      if (name.startsWith(whiteoutPrefix)) {
        throw new Failure(
          "invalid",
          `Cannot archive "/${path}": such a name means a deleted file`,
          {
            hint: `Rename or remove files whose names start with ${whiteoutPrefix}`,
          },
        );
      }
    }
    if (stat.type !== "directory") {
      this.#one({ folder, name, stat, as });
      return;
    }
    this.#sinkEntry(this.#header(stat, as, this.#xattrs(`${pathOf(folder)}/${name}`)));
    this.#directory(path, as);
  }

  /** The disk shows the time that the archive says. */
  #settle(folder: number, name: string, { mtimeSeconds, mtimeNanoseconds }: Stat): void {
    const seconds = this.#rules.timeMax ?? mtimeSeconds;
    if (mtimeSeconds < seconds || (mtimeSeconds === seconds && mtimeNanoseconds === 0)) return;
    setTimeAt(folder, name, { seconds, nanoseconds: 0 });
  }

  /** A file, link or node. */
  #one(one: One): void {
    const { stat, as } = one;
    if (stat.type === "socket" || stat.type === "unknown") return;
    if (stat.links > 1) {
      const first = this.#links.get(stat.identity);
      if (first !== undefined) {
        this.#sinkEntry({ ...this.#header(stat, as), type: "link", linkPath: first, sizeBytes: 0 });
        return;
      }
      this.#linkBytes += as.length;
      if (this.#linkBytes > linkBytesMax) {
        throw new Failure("exhausted", "Cannot archive: the names of hard links fill the memory");
      }
      this.#links.set(stat.identity, as);
    }
    // A first name that is gone by now is none that a later one can be a link to.
    if (!this.#content(one)) this.#links.delete(stat.identity);
  }

  /** Gives an entry with what belongs to it; false where it has gone meanwhile. */
  #content({ folder, name, stat, as }: One): boolean {
    if (stat.type === "file") return this.#file(folder, name, as);
    if (stat.type !== "symlink") {
      this.#sinkEntry(this.#header(stat, as));
      return true;
    }
    const target = readLink(folder, name);
    if (!target) return false;
    this.#sinkEntry({ ...this.#header(stat, as), linkPath: decodeName(target) });
    return true;
  }

  #file(folder: number, name: string, as: string): boolean {
    let file: number;
    try {
      // Without waiting: what was a file may be a FIFO by now.
      file = openAt(folder, name, open.readOnly | open.nonBlock);
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
    try {
      const stat = statAt(file, "");
      if (stat.type !== "file") return false;
      const xattrs = this.#xattrs(`${pathOf(folder)}/${name}`);
      this.#sink.entry({ ...this.#header(stat, as, xattrs), sizeBytes: stat.sizeBytes });
      const isSparse = stat.diskBytes < stat.sizeBytes && stat.sizeBytes > 64 << 10;
      if (isSparse) this.#sparseContent(file, stat.sizeBytes);
      else this.#bytes(file, 0, stat.sizeBytes);
      this.#sink.end();
      return true;
    } finally {
      closeFile(file);
    }
  }

  #bytes(file: number, from: number, to: number): void {
    for (let at = from; at < to; ) {
      this.#abort();
      const want = to - at < blockBytes ? this.#block.subarray(0, to - at) : this.#block;
      const got = readInto(file, want, at);
      if (got === 0) {
        this.#sink.hole(at, to - at); // it shrank meanwhile
        return;
      }
      this.#sink.data(got === want.length ? want : want.subarray(0, got), at);
      at += got;
    }
  }

  #sparseContent(file: number, sizeBytes: number): void {
    let at = 0;
    while (at < sizeBytes) {
      const data = nextData(file, at) ?? { start: sizeBytes, end: sizeBytes };
      const start = Math.min(data.start, sizeBytes);
      if (start > at) this.#sink.hole(at, start - at);
      at = Math.min(data.end, sizeBytes);
      if (at > start) this.#bytes(file, start, at);
      else break;
    }
  }

  #sinkEntry(header: TarHeader): void {
    this.#sink.entry(header);
    this.#sink.end();
  }

  #xattrs(path: string): ReadonlyMap<string, Uint8Array> {
    const names = listXattrs(path).filter(keptXattrs);
    if (names.length === 0) return noXattrs;
    const found = new Map<string, Uint8Array>();
    for (const name of names.sort(byCodeUnit)) {
      const value = getXattr(path, name);
      if (!value || value.length === 0) continue;
      found.set(name, attributeInside(this.#rules.owners, name, value));
    }
    return found;
  }

  #header(stat: Stat, path: string, xattrs = noXattrs): TarHeader {
    const { timeMax, nanoseconds, owners } = this.#rules;
    const owner = this.#rules.owner ?? (owners ? ownerInside(owners, stat) : stat);
    const isLate = timeMax !== undefined && stat.mtimeSeconds >= timeMax;
    return {
      path,
      type: stat.type === "socket" || stat.type === "unknown" ? "file" : stat.type,
      linkPath: "",
      mode: stat.mode,
      uid: owner.uid,
      gid: owner.gid,
      userName: "",
      groupName: "",
      sizeBytes: 0,
      mtimeSeconds: isLate ? timeMax : stat.mtimeSeconds,
      mtimeNanoseconds: isLate || !nanoseconds ? 0 : stat.mtimeNanoseconds,
      deviceMajor: stat.type === "char" || stat.type === "block" ? stat.deviceMajor : 0,
      deviceMinor: stat.type === "char" || stat.type === "block" ? stat.deviceMinor : 0,
      xattrs,
    };
  }
}

/** Gives the tree below a trusted path to a sink: see `Packer`. */
export function packTree(root: string, sink: PackSink, rules: PackRules, abort?: () => void): void {
  const directory = openPath(root, open.path | open.directory);
  try {
    new Packer(directory, sink, rules, abort).run();
  } finally {
    closeFile(directory);
  }
}

/** A deletion has no owner, mode or time of its own. */
const noStat: Stat = {
  type: "file",
  mode: 0,
  uid: 0,
  gid: 0,
  links: 1,
  identity: "",
  sizeBytes: 0,
  diskBytes: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  deviceMajor: 0,
  deviceMinor: 0,
};

const join = (folder: string, name: string) =>
  folder === "" || folder === "/" ? folder + name : `${folder}/${name}`;
const byCodeUnit = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const isGone = (error: unknown) =>
  ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO", "ESTALE"].includes(errnoOf(error) ?? "");

/** The target of a link, or undefined where it has become something else meanwhile. */
function readLink(folder: number, name: string): Buffer | undefined {
  try {
    return readLinkAt(folder, name);
  } catch (error) {
    if (isGone(error) || errnoOf(error) === "EINVAL") return undefined;
    throw error;
  }
}
