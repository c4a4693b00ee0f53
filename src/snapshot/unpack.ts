import { cleanPath, type TarEvent, type TarHeader } from "../archive/mod.ts";
import { assert, Failure, toFailure } from "../base/mod.ts";
import {
  attributeOutside,
  chmodAt,
  chmodFile,
  chownAt,
  chownFile,
  closeFile,
  errnoOf,
  findAt,
  type IdMap,
  isNamespaced,
  linkAt,
  makeDirectoryAt,
  makeNodeAt,
  type Owner,
  open,
  openAt,
  openPath,
  ownerOutside,
  pathOf,
  setFileXattr,
  setTime,
  setTimeAt,
  setXattr,
  symlinkAt,
  truncateFile,
  unlinkAt,
  writeAt,
} from "../sys/mod.ts";
import { Folders, splitPath } from "./folders.ts";
import { emptyDirectory, removeTree } from "./remove-tree.ts";
import { isWhiteout, opaqueValue, opaqueXattr, overlayXattrs, parseWhiteout } from "./whiteout.ts";

/** How an archive becomes files. Plain data, so that it can be sent to a worker. */
export interface UnpackRules {
  /**
   * `.wh.` names: "overlay" makes overlayfs's marks of them, for a layer; "apply" deletes what they
   * name; "keep" (the default) takes them as ordinary names.
   */
  readonly whiteouts?: "overlay" | "apply" | "keep";
  /** Device nodes are "refused" unless true. FIFOs are always made. */
  readonly devices?: boolean;
  /** Who owns all that is unpacked. Default: as the archive says. */
  readonly owner?: Owner;
  /** Owners are as from inside a user namespace with this map, whose root must be who makes the files. */
  readonly owners?: IdMap | undefined;
  /** A folder in the root, in which paths and links of the archive start; made when absent. */
  readonly into?: string;
  /** Takes only what is at or below `from`, and puts it at `to`; both as `a/b`, "" for the whole. */
  readonly rename?: { readonly from: string; readonly to: string };
  /** An entry for the root itself sets its owner, mode and time. Default: the root stays as it is. */
  readonly setRoot?: boolean;
  /** "invalid" where a directory would replace another kind of file, or the other way round. */
  readonly keepKinds?: boolean;
}

/** What was unpacked. */
export interface Unpacked {
  readonly entries: number;
  /** Bytes of file content. */
  readonly sizeBytes: number;
  /** The archive had an entry for the root itself. */
  readonly hasRoot: boolean;
}

type Time = { readonly seconds: number; readonly nanoseconds: number };

type OpenFile = { readonly fd: number; readonly header: TarHeader; endBytes: number };

/** Of the names of folders, whose times are set at the end: a bomb of long ones stops here. */
const pathBytesMax = 64 << 20;
const errnosOfNoXattrs = ["EOPNOTSUPP", "EPERM", "EACCES"];
/** Marks of the host's own security modules: they mean nothing for another machine's files. */
const foreignXattrs = new Set([
  "security.selinux",
  "security.ima",
  "security.evm",
  "security.SMACK64",
]);

/**
 * Writes the events of a tar below a directory. Whatever the archive holds, and whoever changes the
 * tree meanwhile, nothing outside the directory is touched: folders are opened with openat2, names
 * are never followed, files are made new (O_EXCL), never opened. A later entry replaces an earlier.
 * Everything blocks: it is for workers.
 */
export class Unpacker implements Disposable {
  readonly #rules: UnpackRules;
  readonly #folders: Folders;
  readonly #times = new Map<string, Time>();
  readonly #made: Set<string> | undefined;
  #file: OpenFile | undefined;
  #pathBytes = 0;
  #entries = 0;
  #sizeBytes = 0;
  #hasRoot = false;

  /** `root` is a trusted path to a directory. */
  constructor(root: string, rules: UnpackRules = {}) {
    this.#rules = rules;
    this.#made = rules.whiteouts === "apply" ? new Set() : undefined;
    const flags = open.path | open.directory;
    const base = new Folders(openPath(root, flags), rules.whiteouts === "overlay");
    if (!rules.into) {
      this.#folders = base;
      return;
    }
    using outer = base; // the archive's own root is a folder of it, found once
    const into = openAt(outer.make(cleanPath(rules.into)), ".", flags);
    this.#folders = new Folders(into, rules.whiteouts === "overlay");
  }

  /** Takes the next event. @throws Failure "invalid" | "denied" | "exhausted" (the disk is full) */
  take(event: TarEvent): void {
    switch (event.kind) {
      case "entry":
        this.#entry(event.header);
        return;
      case "data": {
        if (!this.#file) return; // the content of an entry that the rules leave out
        // The file is new: what is not written is a hole, and reads as zeros.
        if (isHole(event.bytes)) return;
        this.#write(this.#file, event);
        this.#file.endBytes = event.offset + event.bytes.length;
        return;
      }
      case "end":
        this.#end();
        return;
    }
  }

  /** Sets the times of directories, which each entry in them changed. Call it after the last event. */
  finish(): Unpacked {
    for (const [path, time] of this.#times) {
      const { folder, name } = splitPath(path);
      try {
        setTimeAt(this.#folders.find(folder), name === "" ? "." : name, time);
      } catch (error) {
        if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) throw error;
      }
    }
    this.#times.clear();
    return { entries: this.#entries, sizeBytes: this.#sizeBytes, hasRoot: this.#hasRoot };
  }

  [Symbol.dispose](): void {
    if (this.#file) closeFile(this.#file.fd);
    this.#file = undefined;
    this.#folders[Symbol.dispose]();
  }

  /** Where the rules put an entry; undefined where they leave it out. */
  #place(path: string): string | undefined {
    const clean = cleanPath(path);
    const rename = this.#rules.rename;
    if (!rename) return clean;
    if (clean === rename.from) return rename.to;
    const prefix = rename.from === "" ? "" : `${rename.from}/`;
    if (!clean.startsWith(prefix)) return undefined;
    return rename.to === ""
      ? clean.slice(prefix.length)
      : `${rename.to}/${clean.slice(prefix.length)}`;
  }

  #entry(header: TarHeader): void {
    assert(!this.#file, "an entry ends before the next begins");
    const path = this.#place(header.path);
    if (path === undefined) return;
    this.#entries++;
    if (path === "") {
      this.#root(header);
      return;
    }
    const { folder, name } = splitPath(path);
    const whiteouts = this.#rules.whiteouts ?? "keep";
    const whiteout = whiteouts === "keep" ? undefined : parseWhiteout(name);
    if (whiteout) {
      if (whiteout.kind === "opaque") this.#opaque(folder);
      if (whiteout.kind === "deleted") this.#delete(folder, whiteout.name);
      return;
    }
    this.#made?.add(path);
    if (header.type === "directory") {
      this.#directory(header, path);
      return;
    }
    this.#times.delete(path);
    if (header.type === "file") {
      this.#begin(header, path);
      return;
    }
    const parent = this.#folders.make(folder);
    if (header.type === "link") {
      this.#link(header, parent, name);
      return;
    }
    // As Docker does: a user cannot make devices, and an image seldom means those that it has.
    const isDevice = header.type === "char" || header.type === "block";
    if (isNamespaced && isDevice && this.#rules.devices) return;
    this.#replacing(parent, name, () => this.#special(header, parent, name));
    this.#dress(header, parent, name);
  }

  #root(header: TarHeader): void {
    if (header.type !== "directory") {
      throw new Failure("invalid", `Cannot unpack "${header.path}": the root is a directory`);
    }
    this.#hasRoot = true;
    if (this.#rules.setRoot) this.#dressDirectory(header, this.#folders.root, "");
  }

  #directory(header: TarHeader, path: string): void {
    const { folder, name } = splitPath(path);
    const parent = this.#folders.make(folder);
    try {
      makeDirectoryAt(parent, name, 0o700);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
      this.#directoryOver(parent, name);
    }
    this.#dressDirectory(header, parent, path);
  }

  /** What stands where a directory shall be: a directory stays, all else goes. */
  #directoryOver(parent: number, name: string): void {
    const found = findAt(parent, name);
    if (found?.type === "directory") return;
    if (found) {
      this.#checkKinds(true, name);
      unlinkAt(parent, name);
      this.#folders.forget(); // it may have been a link that a folder was found through
    }
    makeDirectoryAt(parent, name, 0o700);
    if (found && this.#rules.whiteouts === "overlay" && isWhiteout(found)) {
      setXattr(`${pathOf(parent)}/${name}`, opaqueXattr, opaqueValue);
    }
  }

  #dressDirectory(header: TarHeader, parent: number, path: string): void {
    const name = path === "" ? "." : splitPath(path).name;
    const file = openAt(parent, name, open.readOnly | open.directory);
    try {
      chownFile(file, this.#ownerOf(header));
      this.#xattrs(header, (key, value) => setFileXattr(file, key, value));
      chmodFile(file, header.mode);
    } finally {
      closeFile(file);
    }
    if (!this.#times.has(path)) this.#pathBytes += path.length;
    if (this.#pathBytes > pathBytesMax) {
      throw new Failure("exhausted", "Cannot unpack: the archive's folders fill the memory");
    }
    this.#times.set(path, timeOf(header));
  }

  #begin(header: TarHeader, path: string): void {
    const { folder, name } = splitPath(path);
    const parent = this.#folders.make(folder);
    const flags = open.writeOnly | open.create | open.exclusive;
    let fd = -1;
    this.#replacing(parent, name, () => {
      fd = openAt(parent, name, flags, 0o600);
    });
    this.#file = { fd, header, endBytes: 0 };
    this.#sizeBytes += header.sizeBytes;
  }

  #write({ fd, header }: OpenFile, event: TarEvent & { kind: "data" }): void {
    try {
      writeAt(fd, event.bytes, event.offset);
    } catch (cause) {
      const { code, message } = toFailure(cause);
      throw new Failure(code, message.replace(`"#${fd}"`, `"${header.path}"`), { cause });
    }
  }

  #end(): void {
    if (!this.#file) return;
    const { fd, header, endBytes } = this.#file;
    if (endBytes < header.sizeBytes) truncateFile(fd, header.sizeBytes); // a hole at the end
    chownFile(fd, this.#ownerOf(header));
    this.#xattrs(header, (name, value) => setFileXattr(fd, name, value));
    chmodFile(fd, header.mode); // after chown, which clears setuid
    setTime(fd, timeOf(header));
    this.#file = undefined;
    closeFile(fd);
  }

  #link(header: TarHeader, parent: number, name: string): void {
    const target = this.#place(header.linkPath);
    if (target === undefined || target === "") throw badLink(header, "it is not in the archive");
    const from = splitPath(target);
    try {
      const folder = this.#folders.find(from.folder);
      const found = findAt(folder, from.name);
      const own = findAt(parent, name);
      if (found && own && found.identity === own.identity) return; // a file is a link to itself
      if (found?.type === "directory") throw badLink(header, "it is a directory");
      this.#replacing(parent, name, () => linkAt([folder, from.name], [parent, name]));
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") throw badLink(header, "there is no such file");
      throw cause;
    }
  }

  #special(header: TarHeader, parent: number, name: string): void {
    const { type, deviceMajor: major, deviceMinor: minor } = header;
    if (type === "symlink") symlinkAt(header.linkPath, parent, name);
    else if (type === "fifo") makeNodeAt(parent, name, { mode: 0o010600 });
    else if (this.#rules.devices) {
      const mode = type === "char" ? 0o020600 : 0o060600;
      makeNodeAt(parent, name, { mode, major, minor });
    } else {
      throw new Failure("invalid", `Cannot unpack "${header.path}": it is a device`, {
        hint: "Leave it out; for a build's context, with .dockerignore",
      });
    }
  }

  /** Owner, attributes, mode and time of what is neither a file nor a directory. */
  #dress(header: TarHeader, parent: number, name: string): void {
    chownAt(parent, name, this.#ownerOf(header));
    this.#xattrs(header, (key, value) => setXattr(`${pathOf(parent)}/${name}`, key, value));
    if (header.type !== "symlink") chmodAt(parent, name, header.mode);
    setTimeAt(parent, name, timeOf(header));
  }

  /** Makes something new under a name, in place of what has it. */
  #replacing(parent: number, name: string, make: () => void): void {
    for (let attempt = 0; ; attempt++) {
      try {
        make();
        return;
      } catch (error) {
        // Another process may make the name anew each time: it can spoil its own file, no more.
        if (errnoOf(error) !== "EEXIST" || attempt > 10) throw error;
      }
      const found = findAt(parent, name);
      if (found?.type === "directory") {
        this.#checkKinds(false, name);
        this.#folders.forget();
        removeTree(parent, name);
      } else if (found) {
        if (found.type === "symlink") this.#folders.forget();
        unlinkAt(parent, name);
      }
    }
  }

  #checkKinds(isDirectory: boolean, name: string): void {
    if (!this.#rules.keepKinds) return;
    const [have, want] = isDirectory
      ? ["non-directory", "directory"]
      : ["directory", "non-directory"];
    throw new Failure("invalid", `cannot overwrite ${have} "${name}" with ${want}`);
  }

  #opaque(folder: string): void {
    const parent = this.#folders.make(folder);
    if (this.#rules.whiteouts === "overlay") {
      setXattr(`${pathOf(parent)}/.`, opaqueXattr, opaqueValue);
      return;
    }
    const prefix = folder === "" ? "" : `${folder}/`;
    emptyDirectory(parent, ".", 0, (name) => this.#made!.has(`${prefix}${name}`));
    this.#folders.forget();
  }

  /** A deletion speaks of lower layers only: what this archive itself has under that name stays. */
  #delete(folder: string, name: string): void {
    const path = folder === "" ? name : `${folder}/${name}`;
    const parent = this.#folders.make(folder);
    if (this.#rules.whiteouts === "apply") {
      if (this.#made!.has(path)) return;
      removeTree(parent, name);
      this.#folders.forget();
      return;
    }
    const found = findAt(parent, name);
    if (!found) makeNodeAt(parent, name, { mode: 0o020000 });
    else if (found.type === "directory") {
      setXattr(`${pathOf(parent)}/${name}`, opaqueXattr, opaqueValue);
    }
  }

  #ownerOf({ uid, gid, path }: TarHeader): Owner {
    const { owner = { uid, gid }, owners } = this.#rules;
    const outside = owners ? ownerOutside(owners, owner) : owner;
    if (outside) return outside;
    const what = `${owner.uid}:${owner.gid}`;
    throw new Failure("invalid", `Cannot unpack "${path}": the container has no user ${what}`, {
      hint: "More IDs in /etc/subuid and /etc/subgid give it more users",
    });
  }

  #xattrs(header: TarHeader, set: (name: string, value: Uint8Array) => void): void {
    for (const [name, value] of header.xattrs) {
      // An archive that could set these would hide files of lower layers, or redirect to others'.
      if (name.startsWith("trusted.overlay.") || name.startsWith(overlayXattrs)) {
        throw new Failure("invalid", `Cannot unpack "${header.path}": it sets xattr ${name}`);
      }
      if (foreignXattrs.has(name)) continue;
      try {
        set(name, attributeOutside(this.#rules.owners, name, value));
      } catch (error) {
        // As Docker does: a file system without attributes, or a namespace it forbids, is no error.
        if (!errnosOfNoXattrs.includes(errnoOf(error) ?? "")) throw error;
      }
    }
  }
}

function timeOf({ mtimeSeconds, mtimeNanoseconds }: TarHeader): Time {
  return { seconds: mtimeSeconds, nanoseconds: mtimeNanoseconds };
}

const zeros = Buffer.alloc(1 << 20);
/** Smaller ones are not worth the pieces that a file falls into. */
const holeBytesMin = 64 << 10;

/** True for a large piece of zeros, as a sparse file's archive is full of them. */
function isHole(bytes: Uint8Array): boolean {
  const { length } = bytes;
  return (
    length >= holeBytesMin && length <= zeros.length && zeros.subarray(0, length).equals(bytes)
  );
}

function badLink({ path, linkPath }: TarHeader, why: string): Failure {
  return new Failure("invalid", `Cannot unpack link "${path}" to "${linkPath}": ${why}`);
}
