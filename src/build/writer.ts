import { decodeName, Failure } from "../base/mod.ts";
import {
  atCwd,
  chmodFile,
  chownAt,
  chownFile,
  cloneFile,
  closeFile,
  findAt,
  linkAt,
  listXattrs,
  makeDirectoryAt,
  makeNodeAt,
  nextData,
  open,
  openAt,
  openPath,
  pathOf,
  readInto,
  readLinkAt,
  renameAt,
  type Stat,
  setFileXattr,
  setTime,
  setTimeAt,
  setXattr,
  symlinkAt,
  truncateFile,
  unlinkAt,
  writeAt,
} from "../sys/mod.ts";
import { type ChangeMode, parseChmod } from "./chmod.ts";
import { basename, dirname, join } from "./paths.ts";
import type { Root } from "./rooted.ts";
import type { Entry } from "./tree.ts";
import { xattrsOf } from "./xattrs.ts";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

type Time = { readonly seconds: number; readonly nanoseconds: number };

/** A folder that is being filled: its own state is set when its last entry is in. */
interface OpenFolder {
  readonly path: string;
  readonly folder: number;
  /** The state to give it; undefined: it keeps its own. */
  readonly stat: Stat | undefined;
  readonly xattrs: readonly (readonly [name: string, value: string])[];
}

interface Manner {
  readonly owner: Owner | undefined;
  readonly owners: boolean;
  readonly chmod: string;
  /** Seconds since 1970 for all that is written; undefined: the source's. */
  readonly time: number | undefined;
  /** Large files are moved; nobody else needs them. */
  readonly moves: boolean;
}

const rootOwner: Owner = { uid: 0, gid: 0 };
const smallBytesMax = 256 << 10;
const createFlags = open.writeOnly | open.create | open.exclusive;

/** Writes below one root with one owner and mode; remembers hard links within the copy. */
export class Writer {
  readonly #root: Root;
  readonly #owner: Owner | undefined;
  readonly #owners: boolean;
  readonly #moves: boolean;
  readonly #time: Time | undefined;
  readonly #chmod: ChangeMode | undefined;
  readonly #links = new Map<string, string>();
  readonly #block = new Uint8Array(1 << 20);

  constructor(root: Root, how: Manner) {
    this.#root = root;
    this.#owner = how.owner;
    this.#owners = how.owners;
    this.#moves = how.moves;
    this.#time = how.time === undefined ? undefined : { seconds: how.time, nanoseconds: 0 };
    this.#chmod = how.chmod === "" ? undefined : parseChmod(how.chmod);
  }

  /** One walk: a file at `target`, or a folder's content below it. */
  tree(entries: Iterable<Entry>, target: string): void {
    const open: OpenFolder[] = [];
    try {
      for (const entry of entries) {
        if (entry.path === "") {
          if (entry.stat.type !== "directory") this.#fileAt(entry, target);
          else open.push(this.#top(target));
          continue;
        }
        const above = dirname(entry.path);
        while (open.at(-1)!.path !== above) this.#finish(open.pop()!);
        const { folder } = open.at(-1)!;
        const place = `${target}/${entry.path}`;
        if (entry.stat.type !== "directory") this.#entry(entry, { folder, place });
        else open.push(this.#subfolder(entry, { folder, place }));
      }
      while (open.length > 0) this.#finish(open.pop()!);
    } finally {
      for (const { folder } of open) closeFile(folder);
    }
  }

  /** A heredoc's file. */
  bytes(content: Uint8Array, target: string): void {
    this.#within(target, (folder, name) => {
      const file = openAt(folder, name, createFlags, 0o600);
      try {
        writeAt(file, content, 0);
        this.#settle(file, { mode: 0o644, owner: rootOwner });
      } finally {
        closeFile(file);
      }
    });
  }

  /** A fetched file: mode 0600, as Docker has it. */
  download(path: string, { target, mtimeMs }: { target: string; mtimeMs: number }): void {
    this.#within(target, (folder, name) => {
      const from = openPath(path, open.readOnly);
      const file = openAt(folder, name, createFlags, 0o600);
      try {
        this.#content(from, file);
        const seconds = Math.floor(mtimeMs / 1000);
        const time = { seconds, nanoseconds: (mtimeMs - seconds * 1000) * 1e6 };
        this.#settle(file, { mode: 0o600, owner: rootOwner, time });
      } finally {
        closeFile(file);
        closeFile(from);
      }
    });
  }

  #openFolder(path: string): number {
    return this.#root.makeFolders(path, (made) => {
      chownFile(made, this.#owner ?? rootOwner);
      chmodFile(made, this.#chmod ? this.#chmod(0o755, true) : 0o755);
    });
  }

  /** Calls with the folder and name of a file that is to be written; what was there is gone. */
  #within(target: string, write: (folder: number, name: string) => void): void {
    // A link at the target is followed inside the root, as the folders above it are.
    const real = this.#root.find(target)?.path ?? target;
    const folder = this.#openFolder(dirname(join("/", real)));
    try {
      const name = basename(real);
      clear(folder, name, target);
      write(folder, name);
    } finally {
      closeFile(folder);
    }
  }

  #fileAt(entry: Entry, target: string): void {
    this.#within(target, (folder, name) => this.#write(entry, { folder, name }));
  }

  #entry(entry: Entry, { folder, place }: { folder: number; place: string }): void {
    clear(folder, entry.name, place);
    this.#write(entry, { folder, name: entry.name });
  }

  #top(target: string): OpenFolder {
    return { path: "", folder: this.#openFolder(target), stat: undefined, xattrs: [] };
  }

  #subfolder(entry: Entry, { folder, place }: { folder: number; place: string }): OpenFolder {
    const { name, path, stat } = entry;
    const there = findAt(folder, name);
    if (there && there.type !== "directory") {
      // A link to a folder is one, as everywhere in an image; anything else is in the way.
      const real = there.type === "symlink" ? this.#root.find(place) : undefined;
      if (real?.stat.type !== "directory") {
        throw new Failure("invalid", `cannot copy to non-directory: ${join("/", place)}`);
      }
      return { path, folder: this.#openFolder(real.path), stat: undefined, xattrs: [] };
    }
    if (!there) makeDirectoryAt(folder, name, 0o700);
    const made = openAt(folder, name, open.readOnly | open.directory);
    return { path, folder: made, stat, xattrs: this.#owners ? xattrsOf(entry) : [] };
  }

  #finish({ folder, stat, xattrs }: OpenFolder): void {
    try {
      if (!stat) return;
      for (const [name, value] of xattrs) setFileXattr(folder, name, Buffer.from(value, "base64"));
      this.#settle(
        folder,
        { mode: stat.mode, owner: this.#ownerOf(stat), time: this.#timeOf(stat) },
        true,
      );
    } finally {
      closeFile(folder);
    }
  }

  #write(entry: Entry, at: { folder: number; name: string }): void {
    const { stat } = entry;
    const linked = stat.links > 1 ? this.#links.get(stat.identity) : undefined;
    if (linked !== undefined && this.#link(linked, at)) return;
    if (stat.type === "file") this.#regular(entry, at);
    else if (stat.type === "symlink") {
      symlinkAt(decodeName(readLinkAt(entry.folder, entry.name)), at.folder, at.name);
      this.#settleName(entry, at);
    } else if (stat.type === "socket" || stat.type === "unknown") {
      return; // a socket without its process is nothing
    } else {
      makeNodeAt(at.folder, at.name, nodeOf(stat));
      this.#settleName(entry, at);
    }
    if (stat.links > 1) this.#links.set(stat.identity, `${pathTo(at.folder)}/${at.name}`);
  }

  /** A second name for a file that this copy wrote before; false when that is out of reach. */
  #link(existing: string, { folder, name }: { folder: number; name: string }): boolean {
    const above = openPath(dirname(existing), open.path | open.directory);
    try {
      linkAt([above, basename(existing)], [folder, name]);
      return true;
    } finally {
      closeFile(above);
    }
  }

  #regular(entry: Entry, { folder, name }: { folder: number; name: string }): void {
    const { stat } = entry;
    if (this.#moves && isPlainLarge(entry)) {
      renameAt([entry.folder, entry.name], [folder, name]);
      this.#settleMoved(entry, openAt(folder, name, open.readOnly | open.nonBlock));
      return;
    }
    const from = openAt(entry.folder, entry.name, open.readOnly | open.nonBlock);
    try {
      const file = openAt(folder, name, createFlags, 0o600);
      try {
        if (stat.sizeBytes > 0) this.#content(from, file, stat.sizeBytes);
        this.#copyXattrs(entry, (key, value) => setFileXattr(file, key, value));
        this.#settle(file, {
          mode: stat.mode,
          owner: this.#ownerOf(stat),
          time: this.#timeOf(stat),
        });
      } finally {
        closeFile(file);
      }
    } finally {
      closeFile(from);
    }
  }

  #settleMoved({ stat }: Entry, file: number): void {
    try {
      const [owner, time] = [this.#ownerOf(stat), this.#timeOf(stat)];
      this.#settle(file, { mode: stat.mode, owner, time });
    } finally {
      closeFile(file);
    }
  }

  /** Small files in one read and write; large ones by their blocks if they can be shared, else by their data. */
  #content(from: number, to: number, sizeBytes = Number.POSITIVE_INFINITY): void {
    if (sizeBytes <= smallBytesMax) {
      const length = readInto(from, this.#block, 0);
      writeAt(to, this.#block.subarray(0, length), 0);
      return;
    }
    if (cloneFile(from, to)) return;
    let end = 0;
    for (let data = nextData(from, 0); data; data = nextData(from, data.end)) {
      for (let at = data.start; at < data.end; ) {
        const length = readInto(from, this.#block, at);
        if (length === 0) break;
        writeAt(to, this.#block.subarray(0, length), at);
        at += length;
      }
      end = data.end;
    }
    if (Number.isFinite(sizeBytes) && end < sizeBytes) truncateFile(to, sizeBytes);
  }

  #copyXattrs(entry: Entry, set: (name: string, value: Uint8Array) => void): void {
    if (!this.#owners) return;
    for (const [name, value] of xattrsOf(entry)) set(name, Buffer.from(value, "base64"));
  }

  /** Owner before mode: a change of owner clears setuid. */
  #settle(
    file: number,
    { mode, owner, time }: { mode: number; owner: Owner; time?: Time },
    isFolder = false,
  ): void {
    chownFile(file, this.#owner ?? owner);
    chmodFile(file, this.#chmod ? this.#chmod(mode, isFolder) : mode);
    if (time) setTime(file, time);
  }

  #settleName(entry: Entry, { folder, name }: { folder: number; name: string }): void {
    const path = `${pathOf(folder)}/${name}`;
    this.#copyXattrs(entry, (key, value) => setXattr(path, key, value));
    chownAt(folder, name, this.#ownerOf(entry.stat));
    setTimeAt(folder, name, this.#timeOf(entry.stat));
  }

  #timeOf({ mtimeSeconds: seconds, mtimeNanoseconds: nanoseconds }: Stat): Time {
    return this.#time ?? { seconds, nanoseconds };
  }

  #ownerOf(stat: Stat): Owner {
    return this.#owner ?? (this.#owners ? stat : rootOwner);
  }
}

/** A file that is worth a move and has nothing of its own that a copy would not have. */
function isPlainLarge({ stat, folder, name }: Entry): boolean {
  if (stat.sizeBytes <= smallBytesMax || stat.links > 1) return false;
  return listXattrs(`${pathOf(folder)}/${name}`).length === 0;
}

const nodeTypes = { fifo: 0o010000, char: 0o020000, block: 0o060000 } as const;

function nodeOf(stat: Stat): { mode: number; major: number; minor: number } {
  const type = nodeTypes[stat.type as keyof typeof nodeTypes];
  return { mode: type | stat.mode, major: stat.deviceMajor, minor: stat.deviceMinor };
}

function pathTo(folder: number): string {
  return decodeName(readLinkAt(atCwd, pathOf(folder)));
}

/** Makes way for a file. @throws Failure "invalid" — a folder is there */
function clear(folder: number, name: string, place: string): void {
  const there = findAt(folder, name);
  if (!there) return;
  if (there.type === "directory") {
    const path = join("/", place);
    throw new Failure("invalid", `cannot replace to directory ${path} with file`);
  }
  unlinkAt(folder, name);
}
