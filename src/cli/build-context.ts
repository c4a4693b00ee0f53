/** A folder as the tar that a build is given: sorted, root's, without what `.dockerignore` names. */
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type TarFields, type TarInput, wantedBy, writeTar } from "../archive/mod.ts";
import { decodeName, encodeName, Failure } from "../base/mod.ts";
import { filePieces } from "./file-pieces.ts";
import { type IgnoreFile, parseIgnoreFile } from "./ignore-file.ts";

export interface ContextOptions {
  /** Path of the Dockerfile in the folder; it is sent whatever `.dockerignore` says. */
  readonly dockerfile: string;
  /** Files from elsewhere, by their path in the context. */
  readonly extra?: ReadonlyMap<string, Uint8Array>;
  /** Only the Dockerfile, its ignore file and `extra`. */
  readonly isLone?: boolean;
  /** In place of the folder's ignore file. */
  readonly ignore?: string;
  /** Only what is at or below these paths; the folders above them come along. */
  readonly only?: readonly string[];
}

/** Files up to this size are read at once. */
const smallBytesMax = 1 << 20;

/** @throws Failure "invalid" (a pattern) | "not_found" | "denied" (a file) */
export async function* packContext(
  folder: string,
  { dockerfile, extra = new Map(), isLone = false, only, ignore: given }: ContextOptions,
): AsyncGenerator<Uint8Array> {
  const ignore = given === undefined ? readIgnore(folder, dockerfile) : parseIgnoreFile(given);
  const isWanted = only && wantedBy(only);
  const isOurs = (path: string) => extra.has(path) || isWanted?.(path) === false;
  function* entries(): Generator<TarInput> {
    const all = isLone
      ? loneFiles(folder, dockerfile)
      : walk(folder, "", { ignore, isOurs, seen: new Map() });
    for (const entry of all) {
      // Whole seconds, as a layer has them: a fraction would take two blocks more for each file.
      yield { ...entry, header: { ...entry.header, mtimeNanoseconds: 0 } };
    }
    for (const [path, body] of extra) yield { header: { path, mode: 0o644 }, body };
  }
  yield* writeTar(entries());
}

/**
 * A file or folder as the tar that `cp` sends, under `name`; with "" the content of a folder alone.
 * Owners are kept, or root's.
 */
export async function* packPath(
  place: string,
  { name, keepsOwners }: { name: string; keepsOwners: boolean },
): AsyncGenerator<Uint8Array> {
  const owners = (path: string): Pick<TarFields, "uid" | "gid"> => {
    if (!keepsOwners) return {};
    const { uid, gid } = lstatSync(path);
    return { uid, gid };
  };
  function* entries(): Generator<TarInput> {
    const stat = lstatSync(place, { bigint: true });
    if (!stat.isDirectory()) {
      for (const entry of fileEntry(place, { path: name, stat, seen: new Map() })) {
        yield { ...entry, header: { ...entry.header, ...owners(place) } };
      }
      return;
    }
    const own = fieldsOf(name, stat);
    if (name !== "") yield { header: { ...own, type: "directory", ...owners(place) } };
    const all = { ignore: parseIgnoreFile(""), isOurs: () => false, seen: new Map() };
    for (const entry of walk(place, "", all)) {
      const under = (path: string) => (name === "" ? path : `${name}/${path}`);
      const { header } = entry;
      const { linkPath = "" } = header;
      yield {
        ...entry,
        header: {
          ...header,
          path: under(header.path),
          linkPath: header.type === "link" ? under(linkPath) : linkPath,
          ...owners(`${place}/${header.path}`),
        },
      };
    }
  }
  yield* writeTar(entries());
}

function* loneFiles(folder: string, dockerfile: string): Generator<TarInput> {
  const own = dockerfile === "" ? [] : [dockerfile, `${dockerfile}.dockerignore`];
  for (const path of [...own, ".dockerignore"]) {
    const stat = lstatSync(`${folder}/${path}`, { throwIfNoEntry: false });
    if (stat?.isFile()) yield { header: { path }, body: readFileSync(`${folder}/${path}`) };
  }
}

/** The rules for a folder and its Dockerfile. @throws Failure "invalid" */
export function readIgnore(folder: string, dockerfile: string): IgnoreFile {
  const own = `${dockerfile}.dockerignore`;
  const kept = [dockerfile, own, ".dockerignore"].filter((path) => path !== "");
  for (const name of dockerfile === "" ? [".dockerignore"] : [own, ".dockerignore"]) {
    try {
      return parseIgnoreFile(readFileSync(`${folder}/${name}`, "utf8"), kept);
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOENT") throw error;
    }
  }
  return parseIgnoreFile("");
}

interface Walk {
  readonly ignore: IgnoreFile;
  readonly isOurs: (path: string) => boolean;
  /** First path of each file that has several names, by device and inode. */
  readonly seen: Map<string, string>;
}

function* walk(root: string, below: string, state: Walk): Generator<TarInput> {
  const folder = below === "" ? root : `${root}/${below}`;
  for (const name of readFolder(folder)) {
    const path = below === "" ? name : `${below}/${name}`;
    if (state.isOurs(path)) continue;
    const isOut = state.ignore.excludes(path);
    const stat = lstatSync(placeOf(`${root}/${path}`), { bigint: true });
    if (stat.isDirectory()) {
      if (isOut && state.ignore.prunes(path)) continue;
      // A folder that is left out itself may still hold what an exception keeps.
      if (!isOut) yield { header: { ...fieldsOf(path, stat), type: "directory" } };
      yield* walk(root, path, state);
      continue;
    }
    if (isOut) continue;
    yield* fileEntry(`${root}/${path}`, { path, stat, seen: state.seen });
  }
}

/** A path as the kernel has it. */
export const placeOf = (path: string) => (path.isWellFormed() ? path : encodeName(path));

/** The names in a folder, sorted. @throws Failure "denied" */
export function readFolder(folder: string): string[] {
  try {
    const names = readdirSync(placeOf(folder));
    // A name that is no valid UTF-8 keeps its bytes.
    if (!names.some((name) => name.includes("\ufffd"))) return names.sort();
    return readdirSync(placeOf(folder), { encoding: "buffer" }).map(decodeName).sort();
  } catch (cause) {
    const why = (cause as { code?: string }).code === "EACCES" ? "permission denied" : "it is gone";
    throw new Failure("denied", `error checking context: can't stat '${folder}': ${why}`, {
      cause,
    });
  }
}

function fieldsOf(path: string, stat: BigIntStats): TarFields {
  const nanoseconds = stat.mtimeNs;
  const seconds = nanoseconds / 1_000_000_000n;
  return {
    path,
    mode: Number(stat.mode) & 0o7777,
    mtimeSeconds: Number(seconds),
    mtimeNanoseconds: Number(nanoseconds % 1_000_000_000n),
  };
}

function linkOf(place: string): string {
  return decodeName(readlinkSync(placeOf(place), { encoding: "buffer" }));
}

function* fileEntry(
  place: string,
  { path, stat, seen }: { path: string; stat: BigIntStats; seen: Map<string, string> },
): Generator<TarInput> {
  const fields = fieldsOf(path, stat);
  if (stat.isSymbolicLink()) {
    yield { header: { ...fields, type: "symlink", linkPath: linkOf(place) } };
  } else if (stat.isFIFO()) yield { header: { ...fields, type: "fifo" } };
  else if (stat.isFile()) {
    if (stat.nlink > 1n) {
      const inode = `${stat.dev}:${stat.ino}`;
      const first = seen.get(inode);
      if (first !== undefined) {
        yield { header: { ...fields, type: "link", linkPath: first } };
        return;
      }
      seen.set(inode, path);
    }
    const sizeBytes = Number(stat.size);
    if (sizeBytes > smallBytesMax) {
      yield { header: { ...fields, sizeBytes }, body: filePieces(place, sizeBytes) };
    } else yield { header: fields, body: readFileSync(placeOf(place)) };
  }
  // Sockets and devices are not part of a build.
}
