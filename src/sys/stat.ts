import { dlopen, FFIType as T } from "bun:ffi";
import { decodeName } from "../base/mod.ts";
import { check, cstr, errnoOf, failureOf, lastErrno, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  statx: { args: [T.i32, T.ptr, T.i32, T.u32, T.ptr], returns: T.i32 },
  getdents64: { args: [T.i32, T.ptr, T.u64], returns: T.i64_fast },
  statfs: { args: [T.ptr, T.ptr], returns: T.i32 },
});

export type FileType =
  | "file"
  | "directory"
  | "symlink"
  | "char"
  | "block"
  | "fifo"
  | "socket"
  | "unknown";

/** What the kernel knows of a file. Times are seconds since 1970 with nanoseconds apart. */
export interface Stat {
  readonly type: FileType;
  /** Permissions with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Inode and device in one; equal for two names of one file. */
  readonly identity: string;
  readonly sizeBytes: number;
  readonly diskBytes: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

const formats: Readonly<Record<number, FileType>> = {
  [0o100000]: "file",
  [0o040000]: "directory",
  [0o120000]: "symlink",
  [0o020000]: "char",
  [0o060000]: "block",
  [0o010000]: "fifo",
  [0o140000]: "socket",
};
const bits: FileType[] = ["unknown", "fifo", "char", "unknown", "directory", "unknown", "block"];
const typeOfEntry = (value: number): FileType =>
  value === 8
    ? "file"
    : value === 10
      ? "symlink"
      : value === 12
        ? "socket"
        : (bits[value] ?? "unknown");

const buffer = Buffer.alloc(256);
const noFollowEmptyPath = 0x100 | 0x1000;
const basicStats = 0x7ff;

/**
 * The state of one name in a directory, or with "" of the directory itself. A symbolic link is not
 * followed. statx(2), https://man7.org/linux/man-pages/man2/statx.2.html
 */
export function statAt(directory: number, name: string): Stat {
  const result = libc.statx(directory, cstr(name), noFollowEmptyPath, basicStats, buffer);
  check("stat", result, name);
  const mode = buffer.readUInt16LE(28);
  return {
    type: formats[mode & 0o170000] ?? "unknown",
    mode: mode & 0o7777,
    uid: buffer.readUInt32LE(20),
    gid: buffer.readUInt32LE(24),
    links: buffer.readUInt32LE(16),
    identity: buffer.toString("latin1", 32, 40) + buffer.toString("latin1", 136, 144),
    sizeBytes: number64(40),
    diskBytes: number64(48) * 512,
    mtimeSeconds: number64(112),
    mtimeNanoseconds: buffer.readUInt32LE(120),
    deviceMajor: buffer.readUInt32LE(128),
    deviceMinor: buffer.readUInt32LE(132),
  };
}

/** As `statAt`, with undefined where nothing has that name. */
export function findAt(directory: number, name: string): Stat | undefined {
  try {
    return statAt(directory, name);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

const number64 = (at: number) => buffer.readInt32LE(at + 4) * 2 ** 32 + buffer.readUInt32LE(at);

/** A name in a directory. The type is a hint: some file systems say "unknown". */
export interface DirectoryEntry {
  readonly name: string;
  readonly type: FileType;
}

const entries = Buffer.alloc(64 << 10);

/** The names in an open directory from where it stands, without "." and "..", unsorted. getdents(2) */
export function listDirectory(directory: number): DirectoryEntry[] {
  const found: DirectoryEntry[] = [];
  for (;;) {
    const length = Number(libc.getdents64(directory, entries, entries.length));
    if (length < 0) throw failureOf("list", lastErrno(), `#${directory}`);
    if (length === 0) return found;
    for (let at = 0; at < length; ) {
      const end = entries.indexOf(0, at + 19);
      const name = decodeName(entries.subarray(at + 19, end));
      if (name !== "." && name !== "..") {
        found.push({ name, type: typeOfEntry(entries[at + 18]!) });
      }
      at += entries.readUInt16LE(at + 16);
    }
  }
}

/** The magic number of the file system that holds a path, as in statfs(2). */
export function fileSystemMagic(path: string): number {
  const result = Buffer.alloc(256);
  check("stat the file system of", libc.statfs(cstr(path), result), path);
  return result.readUInt32LE(0);
}
