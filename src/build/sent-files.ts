/**
 * What a client says of the files of its folder, against what it said in earlier builds: a file of the same
 * path, size and time has the digest that it had when it was sent. Blocking: for a worker.
 */
import { Database } from "bun:sqlite";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { log } from "../base/mod.ts";

/** Files by kind, path, mode, and size and time or the link's target; nothing else is listed. */
export type ToldFile =
  | readonly [kind: "folder" | "fifo", path: string, mode: number]
  | readonly [kind: "link", path: string, target: string]
  | readonly [kind: "file", path: string, mode: number, size: number, nanoseconds: string];

export interface SentRequest {
  /** Who sends, and which of its folders. */
  readonly key: string;
  /** A `ToldFile` as JSON on each line, folders before what is in them. */
  readonly told: string;
  /** SHA-256, hexadecimal, of files that were sent now, by their lines. */
  readonly digests: ReadonlyMap<number, string>;
  /** Where the listing is to be written. */
  readonly path?: string;
}

/** SHA-256 of the listing, or the lines of files that nothing is known of. */
export type SentAnswer = { readonly digest: string } | { readonly unknown: readonly number[] };

/** A file that changed this short a time ago could change again under the same time. */
const settledMs = 50;
const textBytesMax = 32 << 20;
const linesAtOnce = 2_000;
const missesMax = 1_000;
const rowsMax = 100;
const allBytesMax = 64 << 20;

interface Row {
  /** SHA-256 of what was told, and of the listing that it came to. */
  readonly told: string;
  readonly listing: string;
  /** A line for each file, packed. */
  readonly files: Uint8Array;
}

const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

/** Lists the files as `scanListing` reads them, and remembers what was sent. */
export function matchSent(database: string, request: SentRequest): SentAnswer {
  using store = new Store(database);
  const { key, told, digests, path } = request;
  const row = store.get(key);
  const named = sha256(told);
  if (row?.told === named && path === undefined) return { digest: row.listing };
  const known = new KnownFiles(row);
  using listing = new Listing(path);
  const unknown: number[] = [];
  const files: string[] = [];
  const settled = Date.now() - settledMs;
  let isSettled = true;
  for (const [index, text] of linesOf(told)) {
    const one = JSON.parse(text) as ToldFile;
    if (one[0] !== "file") {
      listing.add(one[0] === "fifo" ? JSON.stringify([...one, 0, 0]) : text);
      continue;
    }
    const [kind, place, mode, size, time] = one;
    const about = JSON.stringify([place, size, time]);
    const digest = digests.get(index) ?? known.digestOf(about, place);
    if (digest === undefined) {
      unknown.push(index);
      continue;
    }
    listing.add(JSON.stringify([kind, place, mode, size, digest]));
    if (row?.told === named) continue;
    if (Number(time) / 1e6 < settled) files.push(`${about}\t${digest}`);
    else isSettled = false;
  }
  if (unknown.length > 0) return { unknown };
  const digest = listing.end();
  if (row?.told !== named) {
    try {
      store.put(key, { told: isSettled ? named : "", listing: digest, files: pack(files) });
    } catch (error) {
      // The disk is full, say: the next build is sent more, and this one goes on.
      log("debug", "Cannot remember the files of a context", { error });
    }
  }
  return { digest };
}

function* linesOf(text: string): Generator<[index: number, line: string]> {
  for (let at = 0, index = 0; at < text.length; index++) {
    const end = text.indexOf("\n", at);
    const next = end === -1 ? text.length : end;
    yield [index, text.slice(at, next)];
    at = next + 1;
  }
}

/** The listing as it grows: its digest, and its file if there is to be one. */
class Listing implements Disposable {
  readonly #hasher = new Bun.CryptoHasher("sha256");
  readonly #file: number | undefined;
  #waiting: string[] = [];

  constructor(path: string | undefined) {
    this.#file = path === undefined ? undefined : openSync(path, "wx", 0o600);
  }

  add(line: string): void {
    this.#waiting.push(line);
    if (this.#waiting.length >= linesAtOnce) this.#flush();
  }

  /** SHA-256, hexadecimal. */
  end(): string {
    this.#flush();
    return this.#hasher.digest("hex");
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    const text = `${this.#waiting.join("\n")}\n`;
    this.#waiting = [];
    this.#hasher.update(text);
    if (this.#file !== undefined) writeFileSync(this.#file, text);
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }
}

function pack(files: readonly string[]): Uint8Array {
  const text = Buffer.from(files.join("\n"));
  return text.length > textBytesMax ? new Uint8Array() : Bun.zstdCompressSync(text, { level: 1 });
}

/** What is known, in the order in which it was told: the next file is mostly the next line. */
class KnownFiles {
  readonly #text: string;
  #at = 0;
  #misses = 0;

  constructor(row: Row | undefined) {
    const files = row?.files ?? new Uint8Array();
    this.#text = files.length === 0 ? "" : Buffer.from(Bun.zstdDecompressSync(files)).toString();
  }

  digestOf(about: string, path: string): string | undefined {
    const start = `${about}\t`;
    if (!this.#text.startsWith(start, this.#at)) {
      // So many are new that all will be sent: looking on would take longer than that.
      if (this.#misses >= missesMax) return undefined;
      const found = this.#text.indexOf(`\n${start}`, Math.max(0, this.#at - 1));
      if (found < 0) {
        this.#misses++;
        if (this.#text.startsWith(`[${JSON.stringify(path)},`, this.#at)) this.#skip();
        return undefined;
      }
      this.#at = found + 1;
    }
    const digest = this.#text.slice(this.#at + start.length, this.#at + start.length + 64);
    this.#skip();
    return digest;
  }

  #skip(): void {
    const end = this.#text.indexOf("\n", this.#at);
    this.#at = end === -1 ? this.#text.length : end + 1;
  }
}

/** A cache: losing it costs time alone. */
class Store implements Disposable {
  readonly #database: Database;

  constructor(path: string) {
    this.#database = new Database(path, { create: true });
    this.#database.run("PRAGMA busy_timeout = 2000");
    this.#database.run(
      `CREATE TABLE IF NOT EXISTS build_sent (key TEXT PRIMARY KEY, told TEXT NOT NULL,
       listing TEXT NOT NULL, files BLOB NOT NULL, used_ms INTEGER NOT NULL) WITHOUT ROWID`,
    );
  }

  get(key: string): Row | undefined {
    const query = "SELECT told, listing, files FROM build_sent WHERE key = ?";
    return this.#database.query<Row, [string]>(query).get(key) ?? undefined;
  }

  put(key: string, { told, listing, files }: Row): void {
    this.#database
      .query("INSERT OR REPLACE INTO build_sent VALUES (?, ?, ?, ?, ?)")
      .run(key, told, listing, files, Date.now());
    this.#database
      .query(
        `DELETE FROM build_sent WHERE key IN (SELECT key FROM (SELECT key,
         row_number() OVER w AS place, sum(length(files)) OVER w AS bytes FROM build_sent
         WINDOW w AS (ORDER BY used_ms DESC, key)) WHERE place > ? OR bytes > ?)`,
      )
      .run(rowsMax, allBytesMax);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
