/**
 * A tar that becomes a part of a layer while it comes: each file is written once, where it stays, and
 * both hashes are taken on the way. Blocking: for a worker.
 */
import { cleanPath, noXattrs, type TarEvent, type TarHeader } from "../archive/mod.ts";
import { encodeName } from "../base/mod.ts";
import { type PackRules, type PackSink, packTree } from "./pack.ts";
import { TarSink } from "./sinks.ts";
import { StreamHash } from "./stream-hash.ts";
import { Unpacker } from "./unpack.ts";
import { whiteoutPrefix } from "./whiteout.ts";

/** What is taken of an archive and where it goes. Plain data: it goes to a worker. */
export interface FillRules {
  /** A folder of the archive, whose content is taken, or a file; "" for the archive's root. */
  readonly from: string;
  readonly isFolder: boolean;
  /** Paths below `from` that are left out, with all below them. */
  readonly exclude: readonly string[];
  /** A folder of the writable directory, to which nothing was written yet, or a file in one: `a/b`. */
  readonly to: string;
  readonly owner: { readonly uid: number; readonly gid: number };
  /** The modification time of all, in seconds since 1970. */
  readonly time: number;
  /** What the listing's hash begins with. */
  readonly head: string;
}

/** What the writable directory holds now. */
export interface Filled {
  /**
   * SHA-256 of `head` and one line of JSON for each entry, in the archive's order: kind, path below `from`,
   * then mode, size and SHA-256 of a file, target of a link, mode of a folder. Undefined where the
   * archive has what such lines do not tell.
   */
  readonly listing: string | undefined;
  /** The DiffID and the bytes of file content, provided that the listing is in canonical order. */
  readonly digest: string;
  readonly sizeBytes: number;
}

/** A larger file is hashed in a thread of its own. */
const besideBytesMin = 64 << 20;
const nowhere: PackSink = { entry: () => {}, data: () => {}, hole: () => {}, end: () => {} };

type Given = Pick<TarHeader, "type" | "mode" | "linkPath" | "sizeBytes" | "segments">;

interface OpenFile {
  readonly header: TarHeader;
  readonly below: string;
  readonly hash: StreamHash;
}

/** Takes the events of a tar; `rules` are those of the commit that follows. */
export class Filler implements Disposable {
  readonly #upper: string;
  readonly #rules: FillRules;
  readonly #commit: PackRules;
  readonly #layer = new StreamHash();
  // Pieces of a large file are passed on as they come.
  readonly #tar = new TarSink((bytes) => this.#layer.update(bytes), 64 << 10);
  readonly #lines = new Bun.CryptoHasher("sha256");
  readonly #unpacker: Unpacker;
  readonly #exclude: ReadonlySet<string>;
  /** Those that were made, below `from`. */
  readonly #folders = new Set<string>();
  #file: OpenFile | undefined;
  #isPlain = true;

  constructor(upper: string, rules: FillRules, commit: PackRules) {
    this.#upper = upper;
    this.#rules = rules;
    this.#commit = commit;
    this.#exclude = new Set(rules.exclude);
    this.#lines.update(rules.head);
    packTree(upper, this.#tar, commit); // the folders that lead to the target, and no more
    this.#unpacker = new Unpacker(upper);
  }

  take(event: TarEvent): void {
    if (event.kind === "entry") this.#entry(event.header);
    else if (this.#file) this.#content(event, this.#file);
  }

  finish(): Filled {
    this.#unpacker.finish();
    const { to, isFolder } = this.#rules;
    // Each entry changed the time of the folder that it is in.
    const inner = isFolder ? { bare: [to] } : { exclude: [to] };
    packTree(this.#upper, nowhere, { ...this.#commit, ...inner, settle: true });
    this.#tar.finish();
    const listing = this.#isPlain ? this.#lines.digest("hex") : undefined;
    return { listing, digest: this.#layer.digest(), sizeBytes: this.#tar.contentBytes };
  }

  [Symbol.dispose](): void {
    this.#layer[Symbol.dispose]();
    this.#file?.hash[Symbol.dispose]();
    this.#unpacker[Symbol.dispose]();
  }

  /** An entry's path below `from`; undefined for what is not taken. */
  #below(path: string): string | undefined {
    const { from, isFolder } = this.#rules;
    if (!isFolder) return path === from ? "" : undefined;
    if (from !== "" && !path.startsWith(`${from}/`)) return undefined;
    const below = from === "" ? path : path.slice(from.length + 1);
    return below === "" || this.#isExcluded(below) ? undefined : below;
  }

  #isExcluded(below: string): boolean {
    if (this.#exclude.size === 0) return false;
    for (let end = below.length; end > 0; end = below.lastIndexOf("/", end - 1)) {
      if (this.#exclude.has(below.slice(0, end))) return true;
    }
    return false;
  }

  #entry(given: TarHeader): void {
    const below = this.#below(cleanPath(given.path));
    this.#file = undefined;
    if (below === undefined) return;
    this.#foldersAbove(below);
    this.#write(given, below);
  }

  /** A folder that is only there for what is in it has no entry of its own. */
  #foldersAbove(below: string): void {
    const folder = below.slice(0, Math.max(0, below.lastIndexOf("/")));
    if (folder === "" || this.#folders.has(folder)) return;
    this.#foldersAbove(folder);
    this.#write({ type: "directory", mode: 0o755, linkPath: "", sizeBytes: 0 }, folder);
  }

  #write(given: Given, below: string): void {
    const { to, owner, time } = this.#rules;
    const { type, linkPath, sizeBytes } = given;
    if (type === "directory") this.#folders.add(below);
    const header: TarHeader = {
      path: below === "" ? to : `${to}${to === "" ? "" : "/"}${below}`,
      type,
      linkPath,
      mode: type === "symlink" ? 0o777 : given.mode,
      ...owner,
      userName: "",
      groupName: "",
      sizeBytes,
      mtimeSeconds: time,
      mtimeNanoseconds: 0,
      deviceMajor: 0,
      deviceMinor: 0,
      xattrs: noXattrs,
    };
    // What a second name leads to, where a file has holes and what deletes are told by the files alone.
    const isMark = header.path.slice(header.path.lastIndexOf("/") + 1).startsWith(whiteoutPrefix);
    if (type === "link" || given.segments || isMark) this.#isPlain = false;
    const target = type === "link" ? this.#below(cleanPath(linkPath)) : undefined;
    const placed = target === undefined ? header : { ...header, linkPath: `${to}/${target}` };
    this.#unpacker.take({ kind: "entry", header: placed });
    this.#tar.entry(header);
    if (type === "file") {
      this.#file = {
        header,
        below,
        hash: new StreamHash({ isBeside: sizeBytes > besideBytesMin }),
      };
      return;
    }
    this.#tar.end();
    if (type === "symlink") this.#line(["link", below, encodeName(linkPath).toString("latin1")]);
    else if (type === "fifo") this.#line(["fifo", below, header.mode, 0, 0]);
    else if (type === "directory") this.#line(["folder", below, header.mode]);
  }

  #line(line: readonly unknown[]): void {
    this.#lines.update(JSON.stringify(line));
  }

  #content(event: TarEvent, { header, below, hash }: OpenFile): void {
    this.#unpacker.take(event);
    if (event.kind === "data") {
      this.#tar.data(event.bytes);
      hash.update(event.bytes);
      return;
    }
    this.#tar.end();
    const { mode, sizeBytes } = header;
    this.#line(["file", below, mode, sizeBytes, hash.digest().slice("sha256:".length)]);
    hash[Symbol.dispose]();
    this.#file = undefined;
  }
}
