import { dlopen, FFIType as T } from "bun:ffi";
import { decodeName } from "../base/mod.ts";
import { check, cstr, errnoName, failureOf, lastErrno, libcPath } from "./libc.ts";

/** Extended attributes, by path without following a last symbolic link, or by descriptor. xattr(7) */
const { symbols: libc } = dlopen(libcPath, {
  lgetxattr: { args: [T.ptr, T.ptr, T.ptr, T.u64], returns: T.i64_fast },
  lsetxattr: { args: [T.ptr, T.ptr, T.ptr, T.u64, T.i32], returns: T.i32 },
  lremovexattr: { args: [T.ptr, T.ptr], returns: T.i32 },
  llistxattr: { args: [T.ptr, T.ptr, T.u64], returns: T.i64_fast },
  fsetxattr: { args: [T.i32, T.ptr, T.ptr, T.u64, T.i32], returns: T.i32 },
});
const valueBytesMax = 64 << 10; // XATTR_SIZE_MAX and XATTR_LIST_MAX
const scratch = Buffer.alloc(valueBytesMax);

/** The value, or undefined where the file has no such attribute or the file system has none at all. */
export function getXattr(path: string, name: string): Buffer | undefined {
  const length = Number(libc.lgetxattr(cstr(path), cstr(name), scratch, scratch.length));
  if (length >= 0) return Buffer.from(scratch.subarray(0, length));
  const errno = lastErrno();
  if (["ENODATA", "EOPNOTSUPP"].includes(errnoName(errno))) return undefined;
  throw failureOf(`read xattr ${name} of`, errno, path);
}

/** The names; none where the file system has no attributes. */
export function listXattrs(path: string): string[] {
  const length = Number(libc.llistxattr(cstr(path), scratch, scratch.length));
  if (length === 0) return [];
  if (length < 0) {
    const errno = lastErrno();
    if (errnoName(errno) === "EOPNOTSUPP") return [];
    throw failureOf("list xattrs of", errno, path);
  }
  return decodeName(scratch.subarray(0, length - 1)).split("\0");
}

/** Sets an attribute. @throws Failure "unsupported" | "denied" | "exhausted" */
export function setXattr(path: string, name: string, value: Uint8Array): void {
  const result = libc.lsetxattr(cstr(path), cstr(name), bytesOf(value), value.length, 0);
  check(`set xattr ${name} of`, result, path);
}

/** As `setXattr`, of an open file. */
export function setFileXattr(file: number, name: string, value: Uint8Array): void {
  const result = libc.fsetxattr(file, cstr(name), bytesOf(value), value.length, 0);
  check(`set xattr ${name} of`, result, `#${file}`);
}

/** Removes an attribute. Absent is fine. */
export function removeXattr(path: string, name: string): void {
  if (libc.lremovexattr(cstr(path), cstr(name)) === 0) return;
  const errno = lastErrno();
  if (errnoName(errno) !== "ENODATA") throw failureOf(`remove xattr ${name} of`, errno, path);
}

const bytesOf = (value: Uint8Array) => (value.length > 0 ? value : Buffer.alloc(1));
