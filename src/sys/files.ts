import { dlopen, FFIType as T } from "bun:ffi";
import { check, cstr, failureOf, lastErrno, libcPath } from "./libc.ts";

/**
 * Files by directory and name, as the kernel wants them where somebody else may change the tree at the
 * same time. A directory is a file descriptor; names of one component are never followed.
 */
const int = T.i32;
const { symbols: libc } = dlopen(libcPath, {
  openat: { args: [int, T.ptr, int, T.u32], returns: int },
  syscall: { args: [T.i64, int, T.ptr, T.ptr, T.u64], returns: T.i64_fast },
  close: { args: [int], returns: int },
  mkdirat: { args: [int, T.ptr, T.u32], returns: int },
  mknodat: { args: [int, T.ptr, T.u32, T.u64], returns: int },
  symlinkat: { args: [T.ptr, int, T.ptr], returns: int },
  readlinkat: { args: [int, T.ptr, T.ptr, T.u64], returns: T.i64_fast },
  linkat: { args: [int, T.ptr, int, T.ptr, int], returns: int },
  unlinkat: { args: [int, T.ptr, int], returns: int },
  renameat2: { args: [int, T.ptr, int, T.ptr, T.u32], returns: int },
  fchownat: { args: [int, T.ptr, T.u32, T.u32, int], returns: int },
  fchown: { args: [int, T.u32, T.u32], returns: int },
  fchmod: { args: [int, T.u32], returns: int },
  chmod: { args: [T.ptr, T.u32], returns: int },
  utimensat: { args: [int, T.ptr, T.ptr, int], returns: int },
  futimens: { args: [int, T.ptr], returns: int },
  ftruncate: { args: [int, T.i64], returns: int },
});

/** The directory that relative names start from: the process's own. */
export const atCwd = -100;
const atSymlinkNoFollow = 0x100;
const sysOpenat2 = 437;

/** open(2) flags that node's constants lack or that need no import. */
export const open = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  truncate: 0o1000,
  nonBlock: 0o4000,
  directory: process.arch === "arm64" ? 0o40000 : 0o200000,
  noFollow: process.arch === "arm64" ? 0o100000 : 0o400000,
  closeOnExec: 0o2000000,
  path: 0o10000000,
} as const;

/** openat2(2) resolve flags. */
export const resolve = {
  noXdev: 1,
  noMagicLinks: 2,
  noSymlinks: 4,
  beneath: 8,
  inRoot: 16,
} as const;

const how = Buffer.alloc(24);

/**
 * Opens a path below `directory`, which an attacker may have filled with symbolic links: with
 * `resolve.inRoot` they end inside, with `resolve.beneath` one that leads out fails.
 * openat2(2), https://man7.org/linux/man-pages/man2/openat2.2.html. Retries what a race made fail.
 */
export function openWithin(
  directory: number,
  path: string,
  options: { flags: number; resolve: number; mode?: number },
): number {
  how.writeUInt32LE((options.flags | open.closeOnExec) >>> 0, 0);
  how.writeUInt32LE(options.mode ?? 0, 8);
  how.writeUInt32LE(options.resolve | resolve.noMagicLinks, 16);
  const name = cstr(path === "" ? "." : path);
  for (let attempt = 0; ; attempt++) {
    const result = libc.syscall(sysOpenat2, directory, name, how, how.length);
    if (result >= 0) return Number(result);
    const errno = lastErrno();
    // EAGAIN: ".." met a rename elsewhere on the machine, and the kernel could not be sure.
    if (errno !== 11 || attempt >= 100) throw failureOf("open", errno, path);
  }
}

/** Opens one name in a directory; never follows a symbolic link there. openat(2) */
export function openAt(directory: number, name: string, flags: number, mode = 0): number {
  const all = flags | open.noFollow | open.closeOnExec;
  return check("open", libc.openat(directory, cstr(name), all, mode), name);
}

/** Opens an absolute, trusted path; symbolic links in it are followed. open(2) */
export function openPath(path: string, flags: number): number {
  return check("open", libc.openat(atCwd, cstr(path), flags | open.closeOnExec, 0), path);
}

/** Closes a descriptor. An error of the kernel's here is one of an earlier write. close(2) */
export function closeFile(file: number): void {
  check("close", libc.close(file), `#${file}`);
}

export function makeDirectoryAt(directory: number, name: string, mode: number): void {
  check("create directory", libc.mkdirat(directory, cstr(name), mode), name);
}

/** mknod(2): `mode` holds the type (S_IFCHR, S_IFBLK, S_IFIFO) and, as the umask cuts them, permissions. */
export function makeNodeAt(
  directory: number,
  name: string,
  node: { mode: number; major?: number; minor?: number },
): void {
  const device = deviceOf(node.major ?? 0, node.minor ?? 0);
  check("create node", libc.mknodat(directory, cstr(name), node.mode, device), name);
}

/** makedev(3) */
function deviceOf(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & ~0xfffn) << 32n) | ((high & 0xfffn) << 8n) | ((low & ~0xffn) << 12n) | (low & 0xffn)
  );
}

export function symlinkAt(target: string, directory: number, name: string): void {
  check("create symbolic link", libc.symlinkat(cstr(target), directory, cstr(name)), name);
}

const linkTarget = Buffer.alloc(4097);

/** The bytes of a symbolic link's target. readlink(2) */
export function readLinkAt(directory: number, name: string): Buffer {
  const length = libc.readlinkat(directory, cstr(name), linkTarget, linkTarget.length);
  if (length < 0) throw failureOf("read symbolic link", lastErrno(), name);
  return Buffer.from(linkTarget.subarray(0, Number(length)));
}

/** A second name for a file; a symbolic link at `from` is linked itself, not followed. link(2) */
export function linkAt(from: readonly [number, string], to: readonly [number, string]): void {
  check("link", libc.linkat(from[0], cstr(from[1]), to[0], cstr(to[1]), 0), to[1]);
}

/** Removes a name: a file's, or with `isDirectory` an empty directory's. unlink(2) */
export function unlinkAt(directory: number, name: string, isDirectory = false): void {
  check("remove", libc.unlinkat(directory, cstr(name), isDirectory ? 0x200 : 0), name);
}

/** rename(2); `flags`: 1 fails where the target exists, 2 exchanges the two. */
export function renameAt(
  from: readonly [number, string],
  to: readonly [number, string],
  flags = 0,
): void {
  check("rename", libc.renameat2(from[0], cstr(from[1]), to[0], cstr(to[1]), flags), from[1]);
}

/** chown(2) of one name, a symbolic link itself included. It clears setuid and setgid: set modes later. */
export function chownAt(
  directory: number,
  name: string,
  owner: { uid: number; gid: number },
): void {
  const result = libc.fchownat(directory, cstr(name), owner.uid, owner.gid, atSymlinkNoFollow);
  check("change owner", result, name);
}

export function chownFile(file: number, owner: { uid: number; gid: number }): void {
  check("change owner", libc.fchown(file, owner.uid, owner.gid), `#${file}`);
}

export function chmodFile(file: number, mode: number): void {
  check("change mode", libc.fchmod(file, mode), `#${file}`);
}

/** chmod(2) of one name that is no symbolic link; one that took its place meanwhile is not followed. */
export function chmodAt(directory: number, name: string, mode: number): void {
  const file = openAt(directory, name, open.path);
  try {
    check("change mode", libc.chmod(cstr(pathOf(file)), mode), name);
  } finally {
    closeFile(file);
  }
}

/** A path that leads to what a descriptor is of, for calls that take no descriptor. proc(5) */
export function pathOf(file: number): string {
  return `/proc/self/fd/${file}`;
}

const times = Buffer.alloc(32);
times.writeInt32LE((1 << 30) - 2, 8); // UTIME_OMIT: the access time stays

function fillTimes(seconds: number, nanoseconds: number): Buffer {
  times.writeInt32LE(Math.floor(seconds / 2 ** 32), 20);
  times.writeUInt32LE(((seconds % 2 ** 32) + 2 ** 32) % 2 ** 32, 16);
  times.writeInt32LE(nanoseconds, 24);
  return times;
}

/** Sets the modification time of one name, a symbolic link itself included. utimensat(2) */
export function setTimeAt(
  directory: number,
  name: string,
  time: { seconds: number; nanoseconds: number },
): void {
  const filled = fillTimes(time.seconds, time.nanoseconds);
  check("set time", libc.utimensat(directory, cstr(name), filled, atSymlinkNoFollow), name);
}

/** Sets the modification time of an open file. futimens(3) */
export function setTime(file: number, time: { seconds: number; nanoseconds: number }): void {
  check("set time", libc.futimens(file, fillTimes(time.seconds, time.nanoseconds)), `#${file}`);
}

/** Makes a file this long; what it gains is a hole. ftruncate(2) */
export function truncateFile(file: number, sizeBytes: number): void {
  check("truncate", libc.ftruncate(file, sizeBytes), `#${file}`);
}
