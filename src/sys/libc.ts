import { dlopen, read, FFIType as T } from "bun:ffi";
import { constants } from "node:os";
import { type Code, encodeName, Failure } from "../base/mod.ts";

/** The C library that the other files of this folder open their symbols from. */
export const libcPath = "libc.so.6";

const { symbols } = dlopen(libcPath, { __errno_location: { args: [], returns: T.ptr } });
const nameOf = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
// EWOULDBLOCK is the same number.
nameOf.set(constants.errno.EAGAIN, "EAGAIN");
const codeOf: Record<string, Code> = {
  ENOENT: "not_found",
  ESRCH: "not_found",
  ENODEV: "not_found",
  EEXIST: "conflict",
  EBUSY: "conflict",
  ENOTEMPTY: "conflict",
  EADDRINUSE: "conflict",
  EPERM: "denied",
  EACCES: "denied",
  EROFS: "denied",
  EINVAL: "invalid",
  ENAMETOOLONG: "invalid",
  ELOOP: "invalid",
  ENOTDIR: "invalid",
  EISDIR: "invalid",
  EXDEV: "invalid",
  ENOSYS: "unsupported",
  EOPNOTSUPP: "unsupported",
  ENOTSUP: "unsupported", // The same number.
  ENOSPC: "exhausted",
  EDQUOT: "exhausted",
  EMFILE: "exhausted",
  ENFILE: "exhausted",
  ENOMEM: "exhausted",
  EAGAIN: "unavailable",
  ETIMEDOUT: "timeout",
};

/** What users meet, as the C library and Docker say it. */
const wordsOf: Record<string, string> = {
  ENOSPC: "no space left on device",
  EDQUOT: "disk quota exceeded",
};

/** errno of the last libc call on this thread. Read it at once: the next call may overwrite it. */
export function lastErrno(): number {
  return read.i32(symbols.__errno_location()!, 0);
}

/** `ENOENT` for 2. */
export function errnoName(errno: number): string {
  return nameOf.get(errno) ?? `errno ${errno}`;
}

/** The Failure for an errno; `subject` is what the call acted on. */
export function failureOf(call: string, errno: number, subject: string): Failure {
  const name = errnoName(errno);
  const cause = Object.assign(new Error(name), { code: name, errno });
  const text = `Cannot ${call} "${subject}": ${wordsOf[name] ?? name}`;
  return new Failure(codeOf[name] ?? "internal", text, { cause });
}

/** Turns libc's -1 into a Failure; any other result is returned as it is. */
export function check(call: string, result: number, subject: string): number {
  if (result !== -1) return result;
  throw failureOf(call, lastErrno(), subject);
}

/** The name of the errno behind a Failure of `check`, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const cause = error instanceof Failure ? error.cause : error;
  return (cause as { code?: string } | undefined)?.code;
}

/** A NUL-terminated string for a syscall. @throws Failure "invalid" when it holds a NUL itself */
export function cstr(text: string): Uint8Array {
  if (text.includes("\0")) throw new Failure("invalid", "Cannot use a name with a NUL byte in it");
  return encodeName(`${text}\0`);
}
