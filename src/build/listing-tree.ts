/**
 * A context that was not sent: its files by kind, name, mode and digest, as a client listed them. It
 * scans to the same digests as the files themselves. Blocking: for a worker.
 */
import { posix } from "node:path";
import { Failure, limits } from "../base/mod.ts";
import { filterOf, type ScanRequest, type ScanResult } from "./scan.ts";
import { type Filter, type Found, findSources, type Tree } from "./tree.ts";

/** A line as `scan` describes entries: kind, path, and the rest that counts. */
type Line = readonly [kind: string, path: string, ...rest: (string | number)[]];
type Kind = "directory" | "file" | "symlink" | "fifo";

const linesMax = limits.archiveEntriesMax;
const linksMax = 40;
const skippedMax = 100;
const kinds: Readonly<Record<string, Kind>> = {
  folder: "directory",
  file: "file",
  link: "symlink",
  fifo: "fifo",
};

/** The listing as a tree that sources can be found in. */
export class ListingTree implements Tree {
  readonly #lines = new Map<string, Line>();
  readonly #names = new Map<string, string[]>([["", []]]);

  /** @throws Failure "invalid" — no listing, or one that contradicts itself */
  constructor(text: string) {
    for (const each of text.split("\n")) {
      if (each === "") continue;
      const line = readLine(each);
      const [kind, path] = line;
      const above = posix.dirname(path) === "." ? "" : posix.dirname(path);
      const names = this.#names.get(above);
      if (!names || this.#lines.has(path)) throw broken(path);
      names.push(posix.basename(path));
      this.#lines.set(path, line);
      if (kind === "folder") this.#names.set(path, []);
      if (this.#lines.size > linesMax)
        throw new Failure("exhausted", "The context has too many files");
    }
    for (const names of this.#names.values()) names.sort();
  }

  line(path: string): Line {
    return this.#lines.get(path) ?? ["folder", "", 0];
  }

  names(path: string): string[] {
    const place = this.find(path);
    return (place && this.#names.get(place.path)) ?? [];
  }

  /** As openat2(2) with RESOLVE_IN_ROOT: links are followed, and lead nowhere outside. */
  find(path: string): { path: string; stat: { type: Kind } } | undefined {
    const rest = path.split("/");
    let [real, links] = ["", 0];
    while (rest.length > 0) {
      const part = rest.shift()!;
      if (part === "" || part === ".") continue;
      if (!this.#names.has(real)) return undefined;
      if (part === "..") {
        real = posix.dirname(real) === "." ? "" : posix.dirname(real);
        continue;
      }
      const next = real === "" ? part : `${real}/${part}`;
      const line = this.#lines.get(next);
      if (!line) return undefined;
      if (line[0] !== "link") {
        real = next;
        continue;
      }
      if (++links > linksMax) return undefined;
      const target = String(line[2]);
      rest.unshift(...target.split("/"));
      if (target.startsWith("/")) real = "";
    }
    return { path: real, stat: { type: kinds[this.line(real)[0]]! } };
  }
}

/** What came is not what was listed. */
export function contextChanged(): Failure {
  return new Failure("conflict", "The context changed while it was built", {
    hint: "Build again when nothing writes to it",
  });
}

function broken(path: string): Failure {
  return new Failure(
    "invalid",
    `Cannot read the listing of the context at "${path.slice(0, 200)}"`,
  );
}

function readLine(text: string): Line {
  const line = JSON.parse(text) as Line;
  const [kind, path] = line;
  const isKnown = typeof kind === "string" && Object.hasOwn(kinds, kind);
  const isPlain =
    typeof path === "string" &&
    path.length <= limits.pathBytesMax &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (isKnown && isPlain) return line;
  throw broken(String(path));
}

/** What `scan` gives, without the files. */
export function scanListing(request: ScanRequest, text: string): ScanResult & { lines: string[] } {
  const tree = new ListingTree(text);
  const filter = filterOf(request);
  const hasher = new Bun.CryptoHasher("sha256");
  const lines: string[] = [];
  const found = request.words.map((word) =>
    findSources(tree, word, { filter, parents: request.parents }),
  );
  let files = 0;
  const skipped: string[] = [];
  const rules = { filter, skip: (path: string) => void skipped.push(path) };
  for (const [index, list] of found.entries()) {
    for (const one of list ?? []) {
      const name = one.isFolder ? "" : one.asked.split("/").at(-1)!;
      hasher.update(JSON.stringify(["source", index, name, one.keep ?? "", one.isArchive]));
      lines.push(JSON.stringify(["source", one.asked]));
      for (const entry of walkListing(tree, one, rules)) {
        files++;
        const line = JSON.stringify(entry);
        hasher.update(line);
        lines.push(line);
      }
    }
  }
  const isShort = skipped.length <= skippedMax && found.flat().length === 1;
  const digest = hasher.digest("hex");
  return { found, digest, files, lines, ...(isShort ? { skipped } : {}) };
}

interface Rules {
  readonly filter: Filter;
  /** Told of what is left out. */
  readonly skip: (path: string) => void;
}

/** The lines of what was found, in the order of `walk`, their paths relative to it. */
function* walkListing(tree: ListingTree, found: Found, rules: Rules): Generator<Line> {
  const [kind, , ...rest] = tree.line(found.path);
  // The mode of what was named itself does not reach a folder's copy, but its entries' do.
  yield found.isFolder ? ["folder", "", 0] : [kind, "", ...rest];
  if (found.isFolder)
    yield* walkBelow(tree, { real: found.path, path: "", asked: found.asked }, rules);
}

interface At {
  readonly real: string;
  readonly path: string;
  readonly asked: string;
}

const below = (path: string, name: string) => (path === "" ? name : `${path}/${name}`);

function* walkBelow(tree: ListingTree, at: At, rules: Rules): Generator<Line> {
  for (const name of tree.names(at.real)) {
    const child = {
      real: below(at.real, name),
      path: below(at.path, name),
      asked: below(at.asked, name),
    };
    const [kind, , ...rest] = tree.line(child.real);
    const line: Line = [kind, child.path, ...rest];
    const isFolder = kind === "folder";
    if (!rules.filter.ignore.excludes(child.asked) && !rules.filter.exclude.excludes(child.path)) {
      yield line;
      if (isFolder) yield* walkBelow(tree, child, rules);
    } else if (
      isFolder &&
      !rules.filter.ignore.prunes(child.asked) &&
      !rules.filter.exclude.prunes(child.path)
    ) {
      if (!(yield* onlyIfAny(line, walkBelow(tree, child, rules)))) rules.skip(child.path);
    } else rules.skip(child.path);
  }
}

/** Gives whether there was any. */
function* onlyIfAny(folder: Line, lines: Generator<Line>): Generator<Line, boolean> {
  let told = false;
  for (const line of lines) {
    if (!told) yield folder;
    told = true;
    yield line;
  }
  return told;
}
