import { Failure } from "../base/mod.ts";

export type EntryType = "file" | "link" | "symlink" | "char" | "block" | "directory" | "fifo";

/** What an archive says about one entry, PAX and GNU extensions folded in. */
export interface TarHeader {
  /** As the archive has it, without slashes at the end; not safe to use: see `cleanPath`. */
  readonly path: string;
  readonly type: EntryType;
  /** The target of a "link" (a path in the archive) or of a "symlink" (any text); else "". */
  readonly linkPath: string;
  /** Permissions with setuid, setgid and sticky: 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly userName: string;
  readonly groupName: string;
  /** Bytes of the file, holes included; 0 for all but files. */
  readonly sizeBytes: number;
  /** Seconds since 1970; may be negative. Whole: the fraction is in `mtimeNanoseconds`. */
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Where the data of a sparse file are, ascending; the rest are holes. Absent: no holes. */
  readonly segments?: readonly Segment[];
}

export interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** A header to be written: all but the path has a default (a file of mode 0644, root's, of 1970). */
export type TarFields = Partial<Omit<TarHeader, "segments">> & { readonly path: string };

/** What a reader accepts; every bound has a default for image layers. */
export interface TarBounds {
  readonly entriesMax?: number;
  readonly pathBytesMax?: number;
  /** Bytes of one entry's extension headers and of its sparse map. */
  readonly headerBytesMax?: number;
  /** Bytes of all files, holes included. */
  readonly sizeBytesMax?: number;
  /** "optional" accepts, as Go does, an archive that stops after an entry. Default: "required". */
  readonly end?: "required" | "optional";
}

/** The extended attributes of most entries: none. */
export const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/**
 * An entry's path below the root it is unpacked to: "" for the root itself, else `a/b`. Leading
 * slashes, "." and ".." are resolved as text, as Docker does.
 * @throws Failure "invalid" — the path leads out of the root
 */
export function cleanPath(path: string): string {
  if (/^[^./][^/]*(?:\/[^./][^/]*)*$/.test(path)) return path; // most paths: nothing to clean
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) {
      throw new Failure("invalid", `Cannot use the archive: "${path}" leads out of its root`);
    }
  }
  return names.join("/");
}
