import { readdirSync, readlinkSync, type Stats } from "node:fs";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { Ignore } from "./ignore.ts";
import { compileMatch, hasWildcard, unescapePattern } from "./pattern.ts";
import { lstatIfThere, resolveInside } from "./rooted.ts";

/** One thing that a COPY or ADD found by one of its source words. */
export interface Found {
  /** Real path below the root. */
  readonly path: string;
  /** Its path as it was asked for, without links followed: gives the name, and ignore rules see it. */
  readonly asked: string;
  readonly isFolder: boolean;
  /** Archives are unpacked by ADD. */
  readonly isArchive: boolean;
  /** --parents: the path below the pivot, to be kept. */
  readonly keep: string | undefined;
}

/** One entry of a walk; `path` is relative to what was found, "" for that itself. */
export interface Entry {
  readonly path: string;
  readonly full: string;
  readonly stat: Stats;
}

/** Which entries of a source tree count. */
export interface Filter {
  /** The context's `.dockerignore`, by paths below the root. */
  readonly ignore: Ignore;
  /** `--exclude`, by paths below what was found. */
  readonly exclude: Ignore;
}

/**
 * What one source word stands for below `root`, sorted. A wildcard may stand for nothing; a plain path
 * that is absent gives undefined.
 * @throws Failure "invalid" — the word leads out of the root, or its pattern is malformed
 */
export function findSources(
  root: string,
  word: string,
  { filter, parents }: { filter: Filter; parents: boolean },
): Found[] | undefined {
  const pivot = parents ? word.indexOf("/./") : -1;
  const base = pivot < 0 ? "" : cleanSource(word.slice(0, pivot));
  const pattern = cleanSource(pivot < 0 ? word : word.slice(pivot + 3));
  const full = posix.join(base, pattern).replace(/^\.$/, "");
  if (!hasWildcard(full)) {
    const found = foundAt(root, unescapePattern(full), filter);
    return found && [{ ...found, keep: parents ? unescapePattern(pattern) : undefined }];
  }
  const matches = expandWildcards(root, full, filter);
  return matches.flatMap((asked) => {
    const found = foundAt(root, asked, filter);
    const keep = parents ? posix.relative(base, asked) : undefined;
    return found ? [{ ...found, keep }] : [];
  });
}

/** A source word as a path below the root. @throws Failure "invalid" when ".." leads above it */
function cleanSource(word: string): string {
  const parts: string[] = [];
  for (const part of word.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) {
      throw new Failure("invalid", `forbidden path outside the build context: ${word} ()`, {
        hint: "Only what is below the context folder can be copied",
      });
    }
  }
  return parts.join("/");
}

function foundAt(root: string, asked: string, filter: Filter): Omit<Found, "keep"> | undefined {
  const place = resolveInside(root, asked, { followLast: true });
  if (!place.stat) return undefined;
  const isFolder = place.stat.isDirectory();
  // An excluded folder may still hold files that an exception takes back.
  if (asked !== "" && filter.ignore.excludes(asked)) {
    if (!isFolder || filter.ignore.prunes(asked)) return undefined;
  }
  if (!isFolder && filter.exclude.excludes(posix.basename(asked))) return undefined;
  return { path: place.path, asked, isFolder, isArchive: false };
}

/** Go's glob, and `**` for any number of folders. Links to folders on the way are followed inside. */
function expandWildcards(root: string, pattern: string, filter: Filter): string[] {
  let heads = [""];
  for (const part of pattern.split("/")) {
    heads = heads.flatMap((head) => {
      if (part === "**") return foldersBelow(root, head, filter);
      if (!hasWildcard(part)) return [posix.join(head, unescapePattern(part))];
      const shape = compileMatch(part);
      const names = childrenOf(root, head).filter((name) => shape.test(name));
      return names.map((name) => posix.join(head, name));
    });
  }
  return [...new Set(heads)].sort();
}

function childrenOf(root: string, folder: string): string[] {
  const place = resolveInside(root, folder, { followLast: true });
  return place.stat?.isDirectory() ? readdirSync(place.full).sort() : [];
}

function foldersBelow(root: string, head: string, filter: Filter): string[] {
  const out = [head];
  for (const name of childrenOf(root, head)) {
    const path = posix.join(head, name);
    const stat = lstatIfThere(`${root}/${path}`);
    if (stat?.isDirectory() && !filter.ignore.prunes(path))
      out.push(...foldersBelow(root, path, filter));
  }
  return out;
}

/**
 * All that counts of what was found, parents before children, sorted by name. A folder that the rules
 * leave out comes only when something below it counts.
 */
export function* walk(root: string, found: Found, filter: Filter): Generator<Entry> {
  const full = found.path === "" ? root : `${root}/${found.path}`;
  const stat = lstatIfThere(full);
  if (!stat) return;
  yield { path: "", full, stat };
  if (stat.isDirectory()) yield* walkBelow({ full, path: "", asked: found.asked, filter });
}

interface Cursor {
  readonly full: string;
  readonly path: string;
  readonly asked: string;
  readonly filter: Filter;
}

function* walkBelow({ full, path, asked, filter }: Cursor): Generator<Entry> {
  for (const name of readdirSync(full).sort()) {
    const child: Cursor = {
      full: `${full}/${name}`,
      path: path === "" ? name : `${path}/${name}`,
      asked: asked === "" ? name : `${asked}/${name}`,
      filter,
    };
    const stat = lstatIfThere(child.full);
    if (!stat) throw new Failure("invalid", `Cannot read "${child.asked}": its name is not UTF-8`);
    const entry = { path: child.path, full: child.full, stat };
    const isOut = filter.ignore.excludes(child.asked) || filter.exclude.excludes(child.path);
    if (!isOut) {
      yield entry;
      if (stat.isDirectory()) yield* walkBelow(child);
    } else if (stat.isDirectory() && !isPruned(filter, child)) {
      yield* onlyIfAny(entry, walkBelow(child));
    }
  }
}

function isPruned({ ignore, exclude }: Filter, { asked, path }: Cursor): boolean {
  return ignore.prunes(asked) || exclude.prunes(path);
}

function* onlyIfAny(folder: Entry, entries: Generator<Entry>): Generator<Entry> {
  let told = false;
  for (const entry of entries) {
    if (!told) yield folder;
    told = true;
    yield entry;
  }
}

/** What a symlink holds. */
export function linkTarget(full: string): string {
  return readlinkSync(full);
}
