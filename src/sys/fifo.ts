import { dlopen, ptr, FFIType as T } from "bun:ffi";
import { check, cstr, errnoName, failureOf, lastErrno, libcPath } from "./libc.ts";

/** Pipes with a name, and reading and writing that never waits. fifo(7), pipe(7) */
const { symbols: libc } = dlopen(libcPath, {
  mkfifo: { args: [T.ptr, T.u32], returns: T.i32 },
  open: { args: [T.ptr, T.i32, T.u32], returns: T.i32 },
  fcntl: { args: [T.i32, T.i32, T.i64], returns: T.i32 },
  read: { args: [T.i32, T.ptr, T.u64], returns: T.i64_fast },
  write: { args: [T.i32, T.ptr, T.u64], returns: T.i64_fast },
  preadv2: { args: [T.i32, T.ptr, T.i32, T.i64, T.i32], returns: T.i64_fast },
});
const nonBlock = 0o4000;
const closeOnExec = 0o2000000;
const setPipeSize = 1031;
const modes = { read: 0, write: 1, both: 2 } as const;

/** What a call that does not wait found: `waits` when there is nothing (or no room) now. */
export type Transfer = number | "waits";

/** Makes a FIFO that only its owner opens. mkfifo(3). @throws "conflict" — it is there */
export function makeFifo(path: string): void {
  check("create FIFO", libc.mkfifo(cstr(path), 0o600), path);
}

/**
 * Opens a FIFO without waiting for the other side. "both" makes it last: what was written stays while
 * anybody holds it, and a writer meets no broken pipe. @throws "not_found"; "write" without a reader: ENXIO
 */
export function openFifo(path: string, mode: keyof typeof modes): number {
  const flags = modes[mode] | nonBlock | closeOnExec;
  return check("open FIFO", libc.open(cstr(path), flags, 0), path);
}

/** Enlarges a pipe, as far as the host lets us: a smaller one works too. fcntl(2), F_SETPIPE_SZ */
export function enlargePipe(file: number, sizeBytes: number): void {
  libc.fcntl(file, setPipeSize, sizeBytes);
}

/** Reads what is there; 0 at the end (the last writer is gone, or a terminal's last user). read(2) */
export function readAvailable(file: number, into: Uint8Array): Transfer {
  return transferred("read", libc.read(file, into, into.length), file);
}

const vector = new BigUint64Array(2);
const doNotWaitForDisk = 8;

/**
 * Reads from a disk file what is in memory already; "waits" when the disk would have to be asked.
 * preadv2(2), RWF_NOWAIT
 */
export function readCached(file: number, into: Uint8Array, offset: number): Transfer {
  vector[0] = BigInt(ptr(into));
  vector[1] = BigInt(into.length);
  const length = libc.preadv2(file, vector, 1, offset, doNotWaitForDisk);
  if (length < 0 && errnoName(lastErrno()) === "EOPNOTSUPP") return "waits";
  return transferred("read", length, file);
}

/** Writes as much as fits. write(2). @throws "unavailable" — nobody will read it any more */
export function writeAvailable(file: number, bytes: Uint8Array): Transfer {
  return transferred("write", libc.write(file, bytes, bytes.length), file);
}

/** The result of a call on a descriptor that does not wait. EIO is how a pty says that it is over. */
export function transferred(call: string, result: number | bigint, file: number): Transfer {
  if (result >= 0) return Number(result);
  const errno = lastErrno();
  const name = errnoName(errno);
  if (name === "EAGAIN" || name === "EINTR") return "waits";
  if (name === "EIO" && call !== "write") return 0;
  throw failureOf(call, errno, `#${file}`);
}
