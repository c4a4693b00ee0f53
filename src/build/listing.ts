/**
 * What stood behind a content digest, file by file: so that a step that was not in the cache can tell
 * which file changed. Blocking: for a worker.
 */
import { Database } from "bun:sqlite";
import type { ScanResult } from "./scan.ts";

/** How one file differs between two builds. */
export interface FileChange {
  readonly path: string;
  readonly change: "added" | "removed" | "content" | "mode" | "owner" | "kind";
}

/** Changes that are told; the count goes on. */
const changesMax = 20;
const listingBytesMax = 16 << 20;
const scanBytesMax = 64 << 10;
const rowsMax = 300;
const allBytesMax = 64 << 20;

let opened: { path: string; database: Database } | undefined;

function open(path: string): Database {
  if (opened?.path === path) return opened.database;
  opened?.database.close();
  const database = new Database(path, { create: true });
  database.run("PRAGMA busy_timeout = 2000");
  database.run(
    `CREATE TABLE IF NOT EXISTS build_listing (digest TEXT PRIMARY KEY, lines BLOB NOT NULL,
     used_ms INTEGER NOT NULL) WITHOUT ROWID`,
  );
  database.run(
    `CREATE TABLE IF NOT EXISTS build_scan (key TEXT PRIMARY KEY, result TEXT NOT NULL,
     used_ms INTEGER NOT NULL) WITHOUT ROWID`,
  );
  opened = { path, database };
  return database;
}

const scansMax = 1_000;

/** What a scan gave that was asked the same of the same listing. */
export function knownScan(path: string, about: string): ScanResult | undefined {
  const row = open(path)
    .query<{ result: string }, [string]>("SELECT result FROM build_scan WHERE key = ?")
    .get(keyOf(about));
  return row ? (JSON.parse(row.result) as ScanResult) : undefined;
}

const keyOf = (about: string) => new Bun.CryptoHasher("sha256").update(about).digest("hex");

/** Keeps what a scan gave, unless it is too large. */
export function rememberScan(path: string, about: string, result: ScanResult): void {
  const database = open(path);
  const text = JSON.stringify(result);
  const isPlain = result.found.every((list) => list !== undefined); // JSON knows no undefined
  if (!isPlain || text.length > scanBytesMax) return;
  database
    .query("INSERT OR REPLACE INTO build_scan VALUES (?, ?, ?)")
    .run(keyOf(about), text, Date.now());
  database
    .query(
      `DELETE FROM build_scan WHERE used_ms < (SELECT used_ms FROM build_scan
       ORDER BY used_ms DESC LIMIT 1 OFFSET ?)`,
    )
    .run(scansMax);
}

/** Keeps the lines behind a digest, unless they are there already or too many. */
export function keepListing(path: string, digest: string, lines: readonly string[]): void {
  const database = open(path);
  if (database.query("SELECT 1 FROM build_listing WHERE digest = ?").get(digest)) return;
  const text = Buffer.from(lines.join("\n"));
  if (text.length > listingBytesMax) return;
  database
    .query("INSERT OR IGNORE INTO build_listing VALUES (?, ?, ?)")
    .run(digest, Bun.zstdCompressSync(text, { level: 1 }), Date.now());
  database
    .query(
      `DELETE FROM build_listing WHERE digest IN (SELECT digest FROM (SELECT digest,
       row_number() OVER w AS place, sum(length(lines)) OVER w AS bytes FROM build_listing
       WINDOW w AS (ORDER BY used_ms DESC, digest)) WHERE place > ? OR bytes > ?)`,
    )
    .run(rowsMax, allBytesMax);
}

/** What differs between two digests; undefined when one of them is no longer known. */
export function compareListings(request: {
  readonly database: string;
  readonly before: string;
  readonly after: string;
}): { changes: FileChange[]; count: number } | undefined {
  const before = readListing(request.database, request.before);
  const after = readListing(request.database, request.after);
  if (!before || !after) return undefined;
  const changes: FileChange[] = [];
  let count = 0;
  const tell = (path: string, change: FileChange["change"]) => {
    if (count++ < changesMax) changes.push({ path, change });
  };
  for (const [path, line] of after) {
    const old = before.get(path);
    if (old === undefined) tell(path, "added");
    else if (old !== line) tell(path, changeOf(JSON.parse(old), JSON.parse(line)));
  }
  for (const path of before.keys()) if (!after.has(path)) tell(path, "removed");
  return { changes, count };
}

function readListing(path: string, digest: string): Map<string, string> | undefined {
  const row = open(path)
    .query<{ lines: Uint8Array }, [string]>("SELECT lines FROM build_listing WHERE digest = ?")
    .get(digest);
  if (!row) return undefined;
  const lines = Buffer.from(Bun.zstdDecompressSync(row.lines)).toString().split("\n");
  const known = new Map<string, string>();
  let source = "";
  for (const line of lines) {
    const [kind, path] = JSON.parse(line) as [string, string];
    if (kind === "source") source = path;
    else known.set([source, path].filter((part) => part !== "").join("/") || ".", line);
  }
  return known;
}

/** Lines as `scan` describes entries: kind, path, mode (but for links), what is in it. */
function changeOf(before: readonly unknown[], after: readonly unknown[]): FileChange["change"] {
  if (before[0] !== after[0]) return "kind";
  const differs = (from: number, to: number) =>
    JSON.stringify(before.slice(from, to)) !== JSON.stringify(after.slice(from, to));
  const isLink = before[0] === "link";
  if (!isLink && before[0] !== "folder" && differs(3, 5)) return "content";
  if (isLink && differs(2, 3)) return "content";
  return !isLink && differs(2, 3) ? "mode" : "owner";
}
