import { decodeName, limits } from "../base/mod.ts";
import {
  attributeInside,
  chmodAt,
  chmodFile,
  chownAt,
  chownFile,
  cloneFile,
  closeFile,
  errnoOf,
  getXattr,
  type IdMap,
  linkAt,
  listDirectory,
  listXattrs,
  makeDirectoryAt,
  makeNodeAt,
  nextData,
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
  setXattr,
  statAt,
  symlinkAt,
  truncateFile,
  writeAt,
} from "../sys/mod.ts";

const blockBytes = 1 << 20;
const nodeTypes: Partial<Record<Stat["type"], number>> = {
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
};

export interface CopyTo {
  readonly target: string;
  /** What is copied shows the owners of this map; the copy has those inside. */
  readonly owners?: IdMap | undefined;
}

/**
 * Copies all that is in one directory into another, which is empty, now, on this thread: owners, modes,
 * times, extended attributes, links and holes too; then the directory's own owner, mode and attributes.
 * Neither side is trusted: no symbolic link is followed on either. Sockets are left out.
 */
export function copyTree(rootfs: string, path: string, { target, owners }: CopyTo): void {
  const root = openPath(rootfs, open.path | open.directory);
  try {
    const from = openFolder(root, path);
    try {
      const to = openPath(target, open.readOnly | open.directory);
      try {
        new TreeCopy(to, owners).folder({ from, to, path: "", depth: 0 });
        copyRoot(from, to, owners);
      } finally {
        closeFile(to);
      }
    } finally {
      closeFile(from);
    }
  } finally {
    closeFile(root);
  }
}

/** Opens a directory in a root filesystem, as a process in there would find it. */
export function openFolder(root: number, path: string): number {
  const flags = open.readOnly | open.directory;
  return openWithin(root, path.replace(/^\/+/, ""), { flags, resolve: resolve.inRoot });
}

/** Gives an open directory the owner, the mode and the attributes of another one. */
export function copyRoot(from: number, to: number, owners?: IdMap): void {
  const stat = statAt(from, "");
  chownFile(to, owners ? ownerInside(owners, stat) : stat);
  chmodFile(to, stat.mode);
  copyXattrs(`${pathOf(from)}/.`, `${pathOf(to)}/.`, owners);
}

interface Folder {
  readonly from: number;
  readonly to: number;
  /** From the target's root: `a/b/`, or "". */
  readonly path: string;
  readonly depth: number;
}

class TreeCopy {
  readonly #root: number;
  /** Where the first name of each file with several names went. */
  readonly #links = new Map<string, { readonly folder: string; readonly name: string }>();
  readonly #block = Buffer.allocUnsafe(blockBytes);

  readonly #owners: IdMap | undefined;

  constructor(root: number, owners: IdMap | undefined) {
    this.#root = root;
    this.#owners = owners;
  }

  folder(folder: Folder): void {
    for (const { name } of listDirectory(folder.from)) {
      const stat = statAt(folder.from, name);
      if (stat.type === "socket" || stat.type === "unknown") continue;
      if (stat.type !== "directory" && this.#linked(folder, name, stat)) continue;
      this.#entry(folder, name, stat);
      if (stat.links > 1 && stat.type !== "directory") {
        this.#links.set(stat.identity, { folder: folder.path, name });
      }
    }
  }

  #entry(folder: Folder, name: string, stat: Stat): void {
    const { from, to } = folder;
    if (stat.type === "directory") this.#directory(folder, name);
    else if (stat.type === "symlink") symlinkAt(decodeName(readLinkAt(from, name)), to, name);
    else if (stat.type === "file") this.#file(folder, name, stat);
    else {
      const mode = (nodeTypes[stat.type] ?? 0) | 0o600;
      makeNodeAt(to, name, { mode, major: stat.deviceMajor, minor: stat.deviceMinor });
    }
    chownAt(to, name, this.#owners ? ownerInside(this.#owners, stat) : stat);
    if (stat.type !== "symlink") chmodAt(to, name, stat.mode);
    copyXattrs(`${pathOf(from)}/${name}`, `${pathOf(to)}/${name}`, this.#owners);
    setTimeAt(to, name, { seconds: stat.mtimeSeconds, nanoseconds: stat.mtimeNanoseconds });
  }

  #directory({ from, to, path, depth }: Folder, name: string): void {
    if (depth * 2 > limits.pathBytesMax) return; // no path leads deeper
    makeDirectoryAt(to, name, 0o700);
    const inner = openAt(from, name, open.readOnly | open.directory);
    try {
      const outer = openAt(to, name, open.readOnly | open.directory);
      try {
        this.folder({ from: inner, to: outer, path: `${path}${name}/`, depth: depth + 1 });
      } finally {
        closeFile(outer);
      }
    } finally {
      closeFile(inner);
    }
  }

  #file({ from, to }: Folder, name: string, { sizeBytes }: Stat): void {
    const source = openAt(from, name, open.readOnly | open.nonBlock);
    try {
      const target = openAt(to, name, open.writeOnly | open.create | open.exclusive, 0o600);
      try {
        if (!cloneFile(source, target)) this.#content(source, target, sizeBytes);
      } finally {
        closeFile(target);
      }
    } finally {
      closeFile(source);
    }
  }

  #content(source: number, target: number, sizeBytes: number): void {
    for (let data = nextData(source, 0); data; data = nextData(source, data.end)) {
      for (let at = data.start; at < data.end; ) {
        const part = this.#block.subarray(0, Math.min(blockBytes, data.end - at));
        const got = readInto(source, part, at);
        if (got === 0) return; // it shrank meanwhile
        writeAt(target, part.subarray(0, got), at);
        at += got;
      }
    }
    truncateFile(target, sizeBytes);
  }

  /** Makes a second name of a file that was copied already; false when this is its first. */
  #linked({ to }: Folder, name: string, stat: Stat): boolean {
    const first = stat.links > 1 ? this.#links.get(stat.identity) : undefined;
    if (!first) return false;
    // Somebody who uses the volume may have put a link where the folder was.
    const flags = open.path | open.directory;
    const how = { flags, resolve: resolve.beneath | resolve.noSymlinks };
    const folder = openWithin(this.#root, first.folder, how);
    try {
      linkAt([folder, first.name], [to, name]);
    } finally {
      closeFile(folder);
    }
    return true;
  }
}

const kept = (name: string) =>
  name.startsWith("user.") ||
  name === "security.capability" ||
  name.startsWith("system.posix_acl_");

function copyXattrs(from: string, to: string, owners: IdMap | undefined): void {
  for (const name of listXattrs(from).filter(kept)) {
    const value = getXattr(from, name);
    if (!value) continue;
    try {
      setXattr(to, name, attributeInside(owners, name, value));
    } catch (error) {
      // Not every file system has attributes, and not of every kind on every file.
      if (!["EOPNOTSUPP", "EPERM"].includes(errnoOf(error) ?? "")) throw error;
    }
  }
}

/** Bytes of the files below a directory, each counted once however many names it has. */
export function measureTree(path: string): number {
  const seen = new Set<string>();
  const measure = (folder: number): number => {
    let sum = 0;
    for (const { name } of listDirectory(folder)) sum += measureEntry(folder, name);
    return sum;
  };
  const measureEntry = (folder: number, name: string): number => {
    try {
      const stat = statAt(folder, name);
      if (stat.type === "directory") return inFolder(openAt(folder, name, open.directory), measure);
      if (stat.type !== "file" || seen.has(stat.identity)) return 0;
      if (stat.links > 1) seen.add(stat.identity);
      return stat.sizeBytes;
    } catch (error) {
      // Containers go on working meanwhile.
      if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return 0;
      throw error;
    }
  };
  return inFolder(openPath(path, open.directory), measure);
}

function inFolder(folder: number, use: (folder: number) => number): number {
  try {
    return use(folder);
  } finally {
    closeFile(folder);
  }
}
