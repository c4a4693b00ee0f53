/**
 * A context as a list: kind, path, mode, size and digest of each file, so that the engine asks only for
 * those that a step needs. Digests of files that did not change are remembered on this side.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { type ContextOptions, placeOf, readFolder, readIgnore } from "./build-context.ts";
import { type IgnoreFile, parseIgnoreFile } from "./ignore-file.ts";

interface Listed {
  readonly path: string;
  readonly stat: Stats;
  /** It is left out, and there for what is in it alone. */
  readonly isImplied?: boolean;
}

/** A context of less than this is sent as it is: asking for it would take longer. */
const worthwhileBytes = 1 << 20;
/** A file that changed this short a time ago could change again under the same time stamp. */
const settledMs = 50;
const blockBytes = 1 << 20;

export interface ContextListing {
  /** SHA-256 of the text, hexadecimal. */
  readonly digest: string;
  /** A line each. */
  text(): string;
  /** Bytes of the files for which `isWanted` says so. */
  sizeOf(isWanted: (path: string) => boolean): number;
}

/** Lists a folder; undefined when it is better sent whole. @throws Failure as `packContext` */
export function listContext(
  folder: string,
  { dockerfile, ignore: given }: Pick<ContextOptions, "dockerfile" | "ignore">,
): ContextListing | undefined {
  const ignore = given === undefined ? readIgnore(folder, dockerfile) : parseIgnoreFile(given);
  const all = [...walk(folder, "", ignore)];
  const bytes = all.reduce((sum, { stat }) => sum + (stat.isFile() ? stat.size + 512 : 512), 0);
  // A name that is no UTF-8 cannot be told in JSON.
  if (bytes < worthwhileBytes || all.some(({ path }) => !path.isWellFormed())) return undefined;
  const sizeOf: ContextListing["sizeOf"] = (isWanted) =>
    all.reduce((sum, { path, stat }) => sum + (stat.isFile() && isWanted(path) ? stat.size : 0), 0);
  const place = memoPlace(folder);
  const whole = new WholeMemo(place, all);
  if (whole.digest !== undefined) {
    return { digest: whole.digest, text: () => textOf(folder, all, place), sizeOf };
  }
  const text = textOf(folder, all, place);
  const digest = createHash("sha256").update(text).digest("hex");
  whole.save(digest);
  return { digest, text: () => text, sizeOf };
}

function textOf(folder: string, all: readonly Listed[], place: string): string {
  const memo = new DigestMemo(place);
  const lines = all.flatMap((one) => {
    if (one.stat.isFile()) return [memo.lineOf(`${folder}/${one.path}`, one)];
    const line = otherLine(`${folder}/${one.path}`, one);
    return line ? [JSON.stringify(line)] : [];
  });
  memo.save();
  return `${lines.join("\n")}\n`;
}

function memoPlace(folder: string): string {
  const home = process.env["XDG_CACHE_HOME"] || `${process.env["HOME"] ?? "/root"}/.cache`;
  const name = createHash("sha256").update(folder).digest("hex").slice(0, 32);
  return `${home}/lading/contexts/${name}`;
}

/**
 * The digest of the whole listing, when the kernel says of all that is in it what it said last time:
 * the lines need not be looked at then. A cache, so that losing it costs time alone.
 */
class WholeMemo {
  readonly digest: string | undefined;
  readonly #place: string;
  readonly #key: string;
  readonly #newestMs: number;

  constructor(place: string, all: readonly Listed[]) {
    this.#place = `${place}.whole`;
    const told = new Float64Array(all.length * 7);
    let [at, newestMs] = [0, 0];
    for (const { stat, isImplied } of all) {
      told[at++] = stat.dev;
      told[at++] = stat.ino;
      told[at++] = stat.size;
      told[at++] = stat.mode;
      told[at++] = stat.mtimeMs;
      told[at++] = stat.ctimeMs;
      told[at++] = isImplied ? 1 : 0;
      newestMs = Math.max(newestMs, stat.ctimeMs);
    }
    this.#newestMs = newestMs;
    const names = all.map(({ path }) => path).join("\0");
    this.#key = createHash("sha256").update(told).update(names).digest("hex");
    const [key, digest] = readRows(this.#place);
    if (key === this.#key && /^[0-9a-f]{64}$/.test(digest ?? "")) this.digest = digest;
  }

  save(digest: string): void {
    if (Date.now() - this.#newestMs > settledMs) saveRows(this.#place, [this.#key, digest]);
  }
}

/** Keeps rows for next time, if that can be. */
function saveRows(path: string, rows: readonly string[]): void {
  const fresh = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(fresh, rows.join("\n"), { mode: 0o600 });
    renameSync(fresh, path);
  } catch {
    rmSync(fresh, { force: true }); // no cache then: the next build reads the files again
  }
}

function otherLine(place: string, { path, stat, isImplied }: Listed): unknown[] | undefined {
  const mode = stat.mode & 0o7777;
  if (stat.isDirectory()) return ["folder", path, isImplied ? 0o755 : mode];
  if (stat.isSymbolicLink())
    return ["link", path, readlinkSync(place, "buffer").toString("latin1")];
  return stat.isFIFO() ? ["fifo", path, mode, 0, 0] : undefined;
}

function* walk(root: string, below: string, ignore: IgnoreFile): Generator<Listed> {
  for (const name of readFolder(below === "" ? root : `${root}/${below}`)) {
    const path = below === "" ? name : `${below}/${name}`;
    const isOut = ignore.excludes(path);
    const stat = lstatSync(placeOf(`${root}/${path}`));
    if (stat.isDirectory()) {
      if (isOut && ignore.prunes(path)) continue;
      if (!isOut) yield { path, stat };
      const inner = walk(root, path, ignore);
      yield* isOut ? withFolder({ path, stat, isImplied: true }, inner) : inner;
    } else if (!isOut) yield { path, stat };
  }
}

/** A folder that is left out comes along with what an exception keeps in it. */
function* withFolder(folder: Listed, inner: Generator<Listed>): Generator<Listed> {
  let isTold = false;
  for (const one of inner) {
    if (!isTold) yield folder;
    isTold = true;
    yield one;
  }
}

/**
 * The lines of files, by path and what the kernel says of them; a cache, so that losing it costs time
 * alone. Its rows stand in the order of the walk, so that the next one is mostly the one to look at.
 */
class DigestMemo {
  readonly #path: string;
  readonly #before: readonly string[];
  readonly #now: string[] = [];
  #next = 0;
  #byStart: Map<string, string> | undefined;
  #isChanged = false;

  constructor(place: string) {
    this.#path = place;
    this.#before = readRows(place);
  }

  lineOf(place: string, { path, stat }: Listed): string {
    const { dev, ino, size, mode, mtimeMs, ctimeMs } = stat;
    const start = `${dev}:${ino}:${size}:${mode}:${mtimeMs}:${ctimeMs} ${path}\t`;
    const known = this.#find(start);
    if (known !== undefined) {
      this.#now.push(known);
      return known.slice(start.length);
    }
    this.#isChanged = true;
    const line = JSON.stringify(["file", path, mode & 0o7777, size, hashFile(place)]);
    const isPlain = !/[\t\n]/.test(path);
    if (isPlain && Date.now() - ctimeMs > settledMs) this.#now.push(start + line);
    return line;
  }

  #find(start: string): string | undefined {
    const row = this.#before[this.#next];
    if (row?.startsWith(start)) {
      this.#next++;
      return row;
    }
    this.#byStart ??= new Map(this.#before.map((each) => [startOf(each), each]));
    const found = this.#byStart.get(start);
    if (found !== undefined) this.#next = this.#before.indexOf(found, this.#next) + 1 || this.#next;
    return found;
  }

  save(): void {
    if (!this.#isChanged && this.#now.length === this.#before.length) return;
    saveRows(this.#path, this.#now);
  }
}

const startOf = (row: string) => row.slice(0, row.indexOf("\t") + 1);

function readRows(path: string): string[] {
  try {
    const text = readFileSync(path, "utf8");
    return text === "" ? [] : text.split("\n");
  } catch {
    return []; // there is none, or it cannot be read: all files are
  }
}

const block = Buffer.allocUnsafeSlow(blockBytes);

function hashFile(place: string): string {
  const hasher = new Bun.CryptoHasher("sha256");
  const file = openSync(place, "r");
  try {
    for (;;) {
      const length = readSync(file, block, 0, block.length, null);
      if (length === 0) return hasher.digest("hex");
      hasher.update(block.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}
