import { Failure } from "../base/mod.ts";
import { closeFile, listDirectory, open, openAt, type Stat, statAt } from "../sys/mod.ts";
import type { Ignore } from "./ignore.ts";
import { basename, below, dirname, join } from "./paths.ts";
import { compileMatch, hasWildcard, unescapePattern } from "./pattern.ts";
import type { Root } from "./rooted.ts";

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
  /** The open folder that it is in; closed when the walk goes on. */
  readonly folder: number;
  /** Its name there; "" for the folder itself. */
  readonly name: string;
  readonly stat: Stat;
}

/** Where sources are looked for: files, or a listing of them. */
export interface Tree {
  /** What a path leads to, links followed inside the tree. */
  find(path: string): { readonly path: string; readonly stat: Pick<Stat, "type"> } | undefined;
  /** What is in a folder, sorted; nothing when there is none. */
  names(path: string): string[];
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
  root: Tree,
  word: string,
  { filter, parents }: { filter: Filter; parents: boolean },
): Found[] | undefined {
  const pivot = parents ? word.indexOf("/./") : -1;
  const base = pivot < 0 ? "" : cleanSource(word.slice(0, pivot));
  const pattern = cleanSource(pivot < 0 ? word : word.slice(pivot + 3));
  const full = join(base, pattern);
  if (!hasWildcard(full)) {
    const found = foundAt(root, unescapePattern(full), filter);
    return found && [{ ...found, keep: parents ? unescapePattern(pattern) : undefined }];
  }
  const matches = expandWildcards(root, full, filter);
  return matches.flatMap((asked) => {
    const found = foundAt(root, asked, filter);
    const keep = parents ? below(base, asked) : undefined;
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

function foundAt(root: Tree, asked: string, filter: Filter): Omit<Found, "keep"> | undefined {
  const place = root.find(asked);
  if (!place) return undefined;
  const isFolder = place.stat.type === "directory";
  // An excluded folder may still hold files that an exception takes back.
  if (asked !== "" && filter.ignore.excludes(asked)) {
    if (!isFolder || filter.ignore.prunes(asked)) return undefined;
  }
  if (!isFolder && filter.exclude.excludes(basename(asked))) return undefined;
  return { path: place.path, asked, isFolder, isArchive: false };
}

/** Go's glob, and `**` for any number of folders. Links to folders on the way are followed inside. */
function expandWildcards(root: Tree, pattern: string, filter: Filter): string[] {
  let heads = [""];
  for (const part of pattern.split("/")) {
    heads = heads.flatMap((head) => {
      if (part === "**") return foldersBelow(root, head, filter);
      if (!hasWildcard(part)) return [join(head, unescapePattern(part))];
      const shape = compileMatch(part);
      const names = root.names(head).filter((name) => shape.test(name));
      return names.map((name) => join(head, name));
    });
  }
  return [...new Set(heads)].sort();
}

/** What is in an open folder, sorted. */
export function namesIn(folder: number): string[] {
  return listDirectory(folder)
    .map(({ name }) => name)
    .sort();
}

function foldersBelow(root: Tree, head: string, filter: Filter): string[] {
  const out = [head];
  for (const name of root.names(head)) {
    const path = join(head, name);
    const place = root.find(path);
    const isFolder = place?.stat.type === "directory" && place.path === path;
    if (isFolder && !filter.ignore.prunes(path)) out.push(...foldersBelow(root, path, filter));
  }
  return out;
}

/**
 * All that counts of what was found, parents before children, sorted by name. A folder that the rules
 * leave out comes only when something below it counts.
 */
export function* walk(root: Root, found: Found, filter: Filter): Generator<Entry> {
  const folderPath = found.isFolder ? found.path : dirname(found.path);
  const folder = root.open(folderPath, open.readOnly | open.directory);
  if (folder === undefined) throw changed(found.asked);
  try {
    const name = found.isFolder ? "" : basename(found.path);
    yield { path: "", folder, name, stat: statAt(folder, name) };
    if (found.isFolder) yield* walkBelow({ folder, path: "", asked: found.asked, filter });
  } finally {
    closeFile(folder);
  }
}

function changed(path: string): Failure {
  return new Failure("conflict", `Cannot copy "${path}": it changed during the build`);
}

interface Cursor {
  readonly folder: number;
  readonly path: string;
  readonly asked: string;
  readonly filter: Filter;
}

function* walkBelow({ folder, path, asked, filter }: Cursor): Generator<Entry> {
  const below = (name: string, child: Omit<Cursor, "folder">) => enter(folder, name, child);
  for (const name of namesIn(folder)) {
    const child = {
      path: path === "" ? name : `${path}/${name}`,
      asked: asked === "" ? name : `${asked}/${name}`,
      filter,
    };
    const entry = { path: child.path, folder, name, stat: statAt(folder, name) };
    const isFolder = entry.stat.type === "directory";
    if (!filter.ignore.excludes(child.asked) && !filter.exclude.excludes(child.path)) {
      yield entry;
      if (isFolder) yield* below(name, child);
    } else if (
      isFolder &&
      !filter.ignore.prunes(child.asked) &&
      !filter.exclude.prunes(child.path)
    ) {
      yield* onlyIfAny(entry, below(name, child));
    }
  }
}

function* enter(parent: number, name: string, child: Omit<Cursor, "folder">): Generator<Entry> {
  const folder = openAt(parent, name, open.readOnly | open.directory);
  try {
    yield* walkBelow({ folder, ...child });
  } finally {
    closeFile(folder);
  }
}

function* onlyIfAny(folder: Entry, entries: Generator<Entry>): Generator<Entry> {
  let told = false;
  for (const entry of entries) {
    if (!told) yield folder;
    told = true;
    yield entry;
  }
}
