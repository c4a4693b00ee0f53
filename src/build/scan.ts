import { Database } from "bun:sqlite";
import { closeSync, constants, lstatSync, openSync, readSync, type Stats } from "node:fs";
import { compileIgnore } from "./ignore.ts";
import { type Entry, type Filter, type Found, findSources, linkTarget, walk } from "./tree.ts";

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
}

export interface ScanResult {
  /** By source word; undefined: a plain path that is absent. */
  readonly found: readonly (readonly Found[] | undefined)[];
  /** Names all that would reach the image: kinds, names, modes, contents, link targets. */
  readonly digest: string;
  readonly files: number;
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
  let files = 0;
  try {
    const found = request.words.map((word) => {
      const all = findSources(request.root, word, { filter, parents: request.parents });
      return all?.map((one) => {
        const isArchive = request.archives && !one.isFolder && looksPacked(request.root, one);
        return { ...one, isArchive };
      });
    });
    for (const [index, list] of found.entries()) {
      for (const one of list ?? []) {
        const name = one.isFolder ? "" : one.asked.split("/").at(-1)!;
        hasher.update(JSON.stringify(["source", index, name, one.keep ?? "", one.isArchive]));
        for (const entry of walk(request.root, one, filter)) {
          files++;
          hasher.update(JSON.stringify(describe(entry, request.owners, memo)));
        }
      }
    }
    return { found, digest: hasher.digest("hex"), files };
  } finally {
    memo?.close();
  }
}

function describe({ path, full, stat }: Entry, owners: boolean, memo: Memo | undefined): unknown[] {
  const mode = stat.mode & 0o7777;
  const owner = owners ? [stat.uid, stat.gid] : [];
  if (stat.isSymbolicLink()) return ["link", path, linkTarget(full), ...owner];
  // The mode of what was named itself does not reach a folder's copy, but its entries' do.
  if (stat.isDirectory()) return ["folder", path, path === "" ? 0 : mode, ...owner];
  if (!stat.isFile()) return ["special", path, stat.mode, stat.rdev, ...owner];
  const digest = memo ? memo.digestOf(full) : hashFile(full, stat);
  return ["file", path, mode, stat.size, digest, ...owner];
}

const smallBytesMax = 256 << 10;
const blockBytes = 1 << 20;
let block: Uint8Array | undefined;

/** SHA-256 of a file, hexadecimal; a link in the last place is not followed. */
export function hashFile(full: string, stat: Pick<Stats, "size">): string {
  const file = openSync(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    block ??= new Uint8Array(blockBytes);
    if (stat.size <= smallBytesMax) {
      const length = readSync(file, block, 0, smallBytesMax + 1, 0);
      if (length <= smallBytesMax && length >= stat.size) {
        return new Bun.CryptoHasher("sha256").update(block.subarray(0, length)).digest("hex");
      }
    }
    const hasher = new Bun.CryptoHasher("sha256");
    for (let at = 0; ; ) {
      const length = readSync(file, block, 0, blockBytes, at);
      if (length === 0) return hasher.digest("hex");
      hasher.update(block.subarray(0, length));
      at += length;
    }
  } finally {
    closeSync(file);
  }
}

/** A first look at the first bytes; unpacking tells for sure. */
function looksPacked(root: string, { path }: Found): boolean {
  const head = new Uint8Array(512);
  const file = openSync(`${root}/${path}`, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const length = readSync(file, head, 0, 512, 0);
    const starts = (...bytes: number[]) => bytes.every((byte, index) => head[index] === byte);
    if (starts(0x1f, 0x8b) || starts(0x42, 0x5a, 0x68)) return true;
    if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00) || starts(0x28, 0xb5, 0x2f, 0xfd)) return true;
    return length === 512 && Buffer.from(head.subarray(257, 262)).toString() === "ustar";
  } finally {
    closeSync(file);
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
  readonly #fresh: [path: string, stamp: string, digest: string][] = [];
  readonly #context: string;

  constructor({ database, context }: { database: string; context: string }) {
    this.#context = context;
    this.#database = new Database(database, { create: true });
    this.#database.run("PRAGMA busy_timeout = 2000");
    this.#database.run(
      `CREATE TABLE IF NOT EXISTS build_file (context TEXT, path TEXT, stamp TEXT NOT NULL,
       digest TEXT NOT NULL, PRIMARY KEY (context, path)) WITHOUT ROWID`,
    );
    const rows = this.#database
      .query<{ path: string; stamp: string; digest: string }, [string]>(
        "SELECT path, stamp, digest FROM build_file WHERE context = ?",
      )
      .all(context);
    this.#known = new Map(rows.map(({ path, stamp, digest }) => [`${path}\0${stamp}`, digest]));
  }

  digestOf(full: string): string {
    const stat = lstatSync(full, { bigint: true });
    const stamp = [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(":");
    const known = this.#known.get(`${full}\0${stamp}`);
    if (known !== undefined) return known;
    const digest = hashFile(full, { size: Number(stat.size) });
    if (Date.now() - Number(stat.ctimeMs) > settledMs) this.#fresh.push([full, stamp, digest]);
    return digest;
  }

  close(): void {
    const insert = this.#database.query("INSERT OR REPLACE INTO build_file VALUES (?, ?, ?, ?)");
    this.#database.transaction(() => {
      for (const row of this.#fresh) insert.run(this.#context, ...row);
    })();
    this.#database.close();
  }
}
