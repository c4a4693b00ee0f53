import { Database } from "bun:sqlite";
import { fstatSync } from "node:fs";
import { magicBytes, sniffCompression } from "../archive/mod.ts";
import { closeFile, open, openAt, readInto, readLinkAt } from "../sys/mod.ts";
import { compileIgnore } from "./ignore.ts";
import { keepListing } from "./listing.ts";
import { Root } from "./rooted.ts";
import { type Entry, type Filter, type Found, findSources, walk } from "./tree.ts";
import { xattrsOf } from "./xattrs.ts";

/** What is to be looked at: the sources of one COPY, ADD or bind mount. Plain data: it goes to a worker. */
export interface ScanRequest {
  readonly root: string;
  readonly words: readonly string[];
  readonly ignore: readonly string[];
  readonly exclude: readonly string[];
  readonly parents: boolean;
  /** Owners reach the image (files of a stage); those of a context do not. */
  readonly owners: boolean;
  /** ADD: tell which files are archives. */
  readonly archives: boolean;
  /** Where to remember digests of unchanged files, for a folder that stays. */
  readonly memo?: { readonly database: string; readonly context: string };
  /** The database to keep the listing in, for explanations. */
  readonly listings?: string;
}

export interface ScanResult {
  /** By source word; undefined: a plain path that is absent. */
  readonly found: readonly (readonly Found[] | undefined)[];
  /** Names all that would reach the image: kinds, names, modes, contents, link targets. */
  readonly digest: string;
  readonly files: number;
  /**
   * Of a listing: what it has below one folder that was found, but the rules leave out; paths in that folder.
   * Undefined: it may be more than this.
   */
  readonly skipped?: readonly string[];
}

/** The rules as the walk wants them. */
export function filterOf(request: Pick<ScanRequest, "ignore" | "exclude">): Filter {
  return { ignore: compileIgnore(request.ignore), exclude: compileIgnore(request.exclude) };
}

/** Finds the sources and hashes them. Blocking: for a worker. @throws Failure as `findSources` */
export function scan(request: ScanRequest): ScanResult {
  const filter = filterOf(request);
  const memo = request.memo && new Memo(request.memo);
  const hasher = new Bun.CryptoHasher("sha256");
  using root = new Root(request.root);
  let files = 0;
  const lines: string[] = [];
  try {
    const found = request.words.map((word) => {
      const all = findSources(root, word, { filter, parents: request.parents });
      return all?.map((one) => {
        const isArchive = request.archives && !one.isFolder && looksPacked(root, one);
        return { ...one, isArchive };
      });
    });
    for (const [index, list] of found.entries()) {
      for (const one of list ?? []) {
        const name = one.isFolder ? "" : one.asked.split("/").at(-1)!;
        hasher.update(JSON.stringify(["source", index, name, one.keep ?? "", one.isArchive]));
        lines.push(JSON.stringify(["source", one.asked]));
        for (const entry of walk(root, one, filter)) {
          files++;
          const line = JSON.stringify(describe(entry, request.owners, memo));
          hasher.update(line);
          lines.push(line);
        }
      }
    }
    const digest = hasher.digest("hex");
    if (request.listings) keepListing(request.listings, digest, lines);
    return { found, digest, files };
  } finally {
    memo?.close();
  }
}

function describe(entry: Entry, owners: boolean, memo: Memo | undefined): unknown[] {
  const { path, folder, name, stat } = entry;
  const owner = owners ? [stat.uid, stat.gid, ...xattrsOf(entry)] : [];
  switch (stat.type) {
    case "symlink":
      return ["link", path, readLinkAt(folder, name).toString("latin1"), ...owner];
    case "directory":
      // The mode of what was named itself does not reach a folder's copy, but its entries' do.
      return ["folder", path, path === "" ? 0 : stat.mode, ...owner];
    case "file":
      return ["file", path, stat.mode, stat.sizeBytes, digestOf(entry, memo), ...owner];
    default:
      return [stat.type, path, stat.mode, stat.deviceMajor, stat.deviceMinor, ...owner];
  }
}

function digestOf({ folder, name, stat }: Entry, memo: Memo | undefined): string {
  const file = openAt(folder, name, open.readOnly | open.nonBlock);
  try {
    return memo ? memo.digestOf(file, stat.sizeBytes) : hashFile(file, stat.sizeBytes);
  } finally {
    closeFile(file);
  }
}

const smallBytesMax = 256 << 10;
const blockBytes = 1 << 20;
let block: Uint8Array | undefined;

/** SHA-256 of an open file, hexadecimal. */
export function hashFile(file: number, sizeBytes: number): string {
  block ??= new Uint8Array(blockBytes);
  const hasher = new Bun.CryptoHasher("sha256");
  if (sizeBytes <= smallBytesMax) {
    const length = readInto(file, block, 0);
    if (length <= sizeBytes) return hasher.update(block.subarray(0, length)).digest("hex");
  }
  for (let at = 0; ; ) {
    const length = readInto(file, block, at);
    if (length === 0) return hasher.digest("hex");
    hasher.update(block.subarray(0, length));
    at += length;
  }
}

/** A first look at the first bytes; unpacking tells for sure. */
function looksPacked(root: Root, { path }: Found): boolean {
  const file = root.open(path, open.readOnly | open.nonBlock);
  if (file === undefined) return false;
  try {
    const head = new Uint8Array(512);
    const length = readInto(file, head, 0);
    if (sniffCompression(head.subarray(0, Math.min(length, magicBytes))) !== "plain") return true;
    return length === 512 && Buffer.from(head.subarray(257, 262)).toString() === "ustar";
  } finally {
    closeFile(file);
  }
}

/** A file whose inode changed this short a time ago could change again under the same time stamp. */
const settledMs = 50;

/**
 * Digests of files by what the kernel says of them: device, inode, size, mtime and ctime in
 * nanoseconds. A worker has its own connection; readers and writers do not block each other (WAL).
 */
class Memo {
  readonly #database: Database;
  readonly #known: Map<string, string>;
  readonly #fresh: [stamp: string, digest: string][] = [];
  readonly #context: string;

  constructor({ database, context }: { database: string; context: string }) {
    this.#context = context;
    this.#database = new Database(database, { create: true });
    this.#database.run("PRAGMA busy_timeout = 2000");
    this.#database.run(
      `CREATE TABLE IF NOT EXISTS build_file (context TEXT, stamp TEXT, digest TEXT NOT NULL,
       used_ms INTEGER NOT NULL, PRIMARY KEY (context, stamp)) WITHOUT ROWID`,
    );
    const rows = this.#database
      .query<{ stamp: string; digest: string }, [string]>(
        "SELECT stamp, digest FROM build_file WHERE context = ?",
      )
      .all(context);
    this.#known = new Map(rows.map(({ stamp, digest }) => [stamp, digest]));
  }

  digestOf(file: number, sizeBytes: number): string {
    const stat = fstatSync(file, { bigint: true });
    const stamp = [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(":");
    const known = this.#known.get(stamp);
    if (known !== undefined) return known;
    const digest = hashFile(file, sizeBytes);
    if (Date.now() - Number(stat.ctimeMs) > settledMs) this.#fresh.push([stamp, digest]);
    return digest;
  }

  close(): void {
    const now = Date.now();
    const insert = this.#database.query("INSERT OR REPLACE INTO build_file VALUES (?, ?, ?, ?)");
    this.#database.transaction(() => {
      for (const row of this.#fresh) insert.run(this.#context, ...row, now);
    })();
    this.#database.close();
  }
}
