import { dlopen, ptr, FFIType as T } from "bun:ffi";
import { check, failureOf, lastErrno, libcPath } from "./libc.ts";

/** The bytes of open files: reading, writing, copying, holes, syncing. Each call blocks its thread. */
const { symbols: libc } = dlopen(libcPath, {
  read: { args: [T.i32, T.ptr, T.u64], returns: T.i64_fast },
  pread: { args: [T.i32, T.ptr, T.u64, T.i64], returns: T.i64_fast },
  write: { args: [T.i32, T.ptr, T.u64], returns: T.i64_fast },
  pwrite: { args: [T.i32, T.ptr, T.u64, T.i64], returns: T.i64_fast },
  lseek: { args: [T.i32, T.i64, T.i32], returns: T.i64_fast },
  ioctl: { args: [T.i32, T.u64, T.i64], returns: T.i32 },
  copy_file_range: { args: [T.i32, T.ptr, T.i32, T.ptr, T.u64, T.u32], returns: T.i64_fast },
  fallocate: { args: [T.i32, T.i32, T.i64, T.i64], returns: T.i32 },
  syncfs: { args: [T.i32], returns: T.i32 },
});
const eintr = 4;
const enxio = 6;

function counted(call: string, attempt: () => number | bigint, file: number): number {
  for (;;) {
    const result = Number(attempt());
    if (result >= 0) return result;
    const errno = lastErrno();
    if (errno !== eintr) throw failureOf(call, errno, `#${file}`);
  }
}

/** Reads from `offset` into `into`, as far as one call goes; 0 at the end. pread(2) */
export function readInto(file: number, into: Uint8Array, offset: number): number {
  if (into.length === 0) return 0;
  return counted("read", () => libc.pread(file, into, into.length, offset), file);
}

/** Reads on from where the file stands; 0 at the end. read(2) */
export function readNext(file: number, into: Uint8Array): number {
  if (into.length === 0) return 0;
  return counted("read", () => libc.read(file, into, into.length), file);
}

/** Writes all of the bytes at `offset`. pwrite(2). @throws Failure "exhausted" — the disk is full */
export function writeAt(file: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length; ) {
    const rest = at === 0 ? bytes : bytes.subarray(at);
    at += counted("write", () => libc.pwrite(file, rest, rest.length, offset + at), file);
  }
}

/** Writes all of the bytes where the file stands. write(2) */
export function writeNext(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const rest = at === 0 ? bytes : bytes.subarray(at);
    at += counted("write", () => libc.write(file, rest, rest.length), file);
  }
}

/**
 * The next stretch of data at or after `offset`, or undefined where only holes follow. A file system
 * that knows no holes gives the whole file. lseek(2), SEEK_DATA and SEEK_HOLE
 */
export function nextData(file: number, offset: number): { start: number; end: number } | undefined {
  const start = Number(libc.lseek(file, offset, 3));
  if (start < 0) {
    const errno = lastErrno();
    if (errno === enxio) return undefined;
    throw failureOf("seek", errno, `#${file}`);
  }
  return { start, end: counted("seek", () => libc.lseek(file, start, 4), file) };
}

/** Shares the blocks of a file with another, where the file system can: true when it did. ioctl_ficlone(2) */
export function cloneFile(from: number, to: number): boolean {
  return libc.ioctl(to, 0x40049409, from) === 0;
}

const getFlags = 0x80086601;
const setFlags = 0x40086602;
const topDirectory = 0x20000;

/**
 * Says of an open directory that what is made in it are trees of their own, as below /home: ext4 then gives
 * each a place of its own on the disk. False where the file system cannot. ioctl_iflags(2), FS_TOPDIR_FL
 */
export function spreadBelow(directory: number): boolean {
  const flags = new BigInt64Array(1);
  if (libc.ioctl(directory, getFlags, ptr(flags)) !== 0) return false;
  flags[0]! |= BigInt(topDirectory);
  return libc.ioctl(directory, setFlags, ptr(flags)) === 0;
}

/** Copies bytes in the kernel from where `from` stands to where `to` stands; 0 at the end. copy_file_range(2) */
export function copyRange(from: number, to: number, sizeBytes: number): number {
  return counted("copy", () => libc.copy_file_range(from, null, to, null, sizeBytes, 0), from);
}

/**
 * Gives the blocks of a stretch back, in memory and on the disk; it reads as zeros. The size stays. False
 * where the file system cannot. fallocate(2), FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE
 */
export function punchHole(file: number, offset: number, sizeBytes: number): boolean {
  return libc.fallocate(file, 3, offset, sizeBytes) === 0;
}

/** Waits until everything on the file system of an open file is on its disk. syncfs(2) */
export function syncFileSystem(file: number): void {
  check("sync", libc.syncfs(file), `#${file}`);
}
