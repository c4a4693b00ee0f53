import { dlopen, FFIType as T } from "bun:ffi";
import { closeSync, readFileSync } from "node:fs";
import { check, cstr, errnoName, failureOf, lastErrno, libcPath } from "./libc.ts";

/** A mount as the OCI runtime specification writes it; what snapshot and volume give to runtime. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  /** Absolute path inside the container. */
  readonly target: string;
  readonly options: readonly string[];
}

const { symbols: libc } = dlopen(libcPath, {
  mount: { args: [T.ptr, T.ptr, T.ptr, T.u64, T.ptr], returns: T.i32 },
  umount2: { args: [T.ptr, T.i32], returns: T.i32 },
  syscall: { args: [T.i64, T.i64, T.ptr, T.i64, T.ptr, T.i64], returns: T.i64_fast },
});

/** mount(2) flags. */
export const mountFlag = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  bind: 4096,
  recursive: 16384,
  private: 1 << 18,
  slave: 1 << 19,
} as const;

/** Bytes of mount options that fit: the kernel takes one page with its NUL. */
export const mountDataBytesMax = 4095;

/**
 * Mounts a file system now, on this thread. mount(2), https://man7.org/linux/man-pages/man2/mount.2.html
 * @throws Failure "denied" | "not_found" | "invalid" | …
 */
export function mountNow(m: {
  type: string;
  source: string;
  target: string;
  flags?: number;
  data?: string;
}): void {
  const data = m.data === undefined ? null : cstr(m.data);
  const result = libc.mount(cstr(m.source), cstr(m.target), cstr(m.type), m.flags ?? 0, data);
  check(`mount ${m.type} on`, result, m.target);
}

/**
 * Unmounts now: false when nothing is mounted there. With `detach` also what is in use: it goes when the
 * last user goes, and that user waits for the file system's sync. umount2(2)
 */
export function unmountNow(target: string, { detach }: { detach: boolean }): boolean {
  const noFollow = 8;
  if (libc.umount2(cstr(target), noFollow | (detach ? 2 : 0)) === 0) return true;
  const errno = lastErrno();
  if (["EINVAL", "ENOENT"].includes(errnoName(errno))) return false;
  throw failureOf("unmount", errno, target);
}

// The same numbers on all architectures.
const call = { openTree: 428, setAttributes: 442 } as const;

/**
 * Opens a file or directory through a mount of its own, which nothing can be written through and which is nowhere in
 * the tree: it goes with the descriptor. Undefined where the kernel is too old (before 5.12).
 * open_tree(2), mount_setattr(2)
 */
export function openReadOnly(path: string): number | undefined {
  const [atCwd, clone, closeOnExec, emptyPath] = [-100, 1, 0o2000000, 0x1000];
  const file = Number(libc.syscall(call.openTree, atCwd, cstr(path), clone | closeOnExec, null, 0));
  if (file < 0) return undefined;
  const attributes = new BigUint64Array([1n, 0n, 0n, 0n]); // struct mount_attr: set MOUNT_ATTR_RDONLY
  const size = attributes.byteLength;
  const result = libc.syscall(call.setAttributes, file, cstr(""), emptyPath, attributes, size);
  if (Number(result) === 0) return file;
  closeSync(file);
  return undefined;
}

/** One line of mountinfo. */
export interface MountPoint {
  readonly target: string;
  readonly type: string;
  readonly source: string;
  readonly options: string;
  /** Whether mounts go both ways between it and its peers, come in only, or neither. */
  readonly propagation: "shared" | "slave" | "private";
}

/** What is mounted in this process's namespace, in order of mounting. proc_pid_mountinfo(5) */
export function listMounts(): MountPoint[] {
  return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** Parses `/proc/<pid>/mountinfo`. */
export function parseMountInfo(text: string): MountPoint[] {
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const words = line.split(" ");
    const dash = words.indexOf("-", 6);
    return {
      target: unescapeOctal(words[4] ?? ""),
      type: words[dash + 1] ?? "",
      source: unescapeOctal(words[dash + 2] ?? ""),
      options: words[dash + 3] ?? "",
      propagation: propagationOf(words.slice(6, dash)),
    };
  });
}

function propagationOf(fields: readonly string[]): MountPoint["propagation"] {
  if (fields.some((field) => field.startsWith("shared:"))) return "shared";
  return fields.some((field) => field.startsWith("master:")) ? "slave" : "private";
}

/** The mount that an absolute path without links is on. */
export function mountOf(path: string): MountPoint | undefined {
  const isAbove = (target: string) =>
    target === "/" || path === target || path.startsWith(`${target}/`);
  const above = listMounts().filter(({ target }) => isAbove(target));
  const depth = Math.max(...above.map(({ target }) => target.length));
  return above.findLast(({ target }) => target.length === depth);
}

/** Space, tab, newline and backslash stand as `\040` and so on. */
function unescapeOctal(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(/\\([0-7]{3})/g, (_, digits) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
