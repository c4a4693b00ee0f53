import { dlopen, ptr, FFIType as T } from "bun:ffi";
import { closeSync, openSync, readFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { check, cstr, errnoOf, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  execve: { args: [T.cstring, T.ptr, T.ptr], returns: T.i32 },
  fcntl: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
  flock: { args: [T.i32, T.i32], returns: T.i32 },
});

/** A NULL-terminated array of C strings. The parts keep the strings alive while the call runs. */
function stringArray(texts: readonly string[]): { array: BigUint64Array; parts: Uint8Array[] } {
  const parts = texts.map(cstr);
  const array = new BigUint64Array(texts.length + 1);
  parts.forEach((part, index) => {
    array[index] = BigInt(ptr(part));
  });
  return { array, parts };
}

/**
 * Replaces this process; the process id stays. execve(2), https://man7.org/linux/man-pages/man2/execve.2.html.
 * @throws "not_found" | "denied" — it is not there, or not executable
 */
export function replaceProcess(
  argv: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
): never {
  const args = stringArray(argv);
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value ?? ""}`);
  const variables = stringArray(environment);
  check("execve", libc.execve(cstr(argv[0]), args.array, variables.array), argv[0]);
  throw new Failure("internal", `Cannot execve "${argv[0]}": it returned`);
}

/** What is mapped into this process's user namespace: the first row's, by file. user_namespaces(7) */
function mapped(file: "uid_map" | "gid_map"): number {
  try {
    const rows = readFileSync(`/proc/self/${file}`, "latin1").trim().split("\n");
    return Math.max(
      ...rows.map((row) => {
        const [inside = 0, , count = 0] = row.trim().split(/\s+/).map(Number);
        return inside + count;
      }),
    );
  } catch {
    return 2 ** 32 - 1; // a kernel without user namespaces
  }
}

/** True where this process is root of a user namespace alone: a user started it, who is not root. */
export const isNamespaced: boolean = mapped("uid_map") < 2 ** 32 - 1;

/** The largest group ID that a process here can have, as far as sysctls take it. */
export const groupIdMax: number = Math.min(mapped("gid_map"), 2 ** 31) - 1;

const F_SETFD = 2;
const FD_CLOEXEC = 1;

/** Keeps a descriptor from programs that are started later. fcntl(2). @throws "internal" — it is not open */
export function closeOnExec(file: number): void {
  check("fcntl", libc.fcntl(file, F_SETFD, FD_CLOEXEC), `descriptor ${file}`);
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Holds a file for this process until it is disposed or the process ends, however it ends.
 * flock(2), https://man7.org/linux/man-pages/man2/flock.2.html.
 * @throws "conflict" — another process holds it
 */
export function lockFile(path: string): Disposable {
  const file = openSync(path, "a", 0o600);
  try {
    check("flock", libc.flock(file, LOCK_EX | LOCK_NB), path);
  } catch (cause) {
    closeSync(file);
    if (errnoOf(cause) !== "EAGAIN") throw cause;
    throw new Failure("conflict", `Cannot lock "${path}": another process holds it`, { cause });
  }
  return { [Symbol.dispose]: () => closeSync(file) };
}
