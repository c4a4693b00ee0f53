import { dlopen, FFIType as T } from "bun:ffi";
import { fstatSync, readdirSync, statSync } from "node:fs";
import { check, cstr, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  unshare: { args: [T.i32], returns: T.i32 },
  setns: { args: [T.i32, T.i32], returns: T.i32 },
  open: { args: [T.cstring, T.i32], returns: T.i32 },
  close: { args: [T.i32], returns: T.i32 },
  if_nametoindex: { args: [T.cstring], returns: T.u32 },
});

const newNetwork = 0x4000_0000;
const closeOnExec = 0o2000000;
const currentPath = "/proc/thread-self/ns/net";

/** A network namespace held open by a file descriptor; it lives as long as that or a process in it. */
export interface NetworkNamespace {
  readonly fd: number;
  /** What tells it from others, as `stat` shows it for /proc/PID/ns/net. */
  readonly inode: number;
  /** A path other processes can open while this process holds the descriptor. */
  readonly path: string;
}

function open(path: string): NetworkNamespace {
  const fd = check("open", libc.open(cstr(path), closeOnExec), path);
  return { fd, inode: fstatSync(fd).ino, path: `/proc/${process.pid}/fd/${fd}` };
}

/** Opens the namespace behind a path, such as /proc/PID/ns/net. @throws Failure "not_found" */
export function openNamespace(path: string): NetworkNamespace {
  return open(path);
}

/** The namespace the thread is in. */
export function currentNamespace(): NetworkNamespace {
  return open(currentPath);
}

/**
 * Makes a network namespace: unshare(2). Only this thread leaves its own, and is back before the
 * function returns: no `await` may stand between.
 *
 * @throws Failure "denied" — not root; "exhausted" — the kernel's bound on namespaces
 */
export function createNamespace(): NetworkNamespace {
  const home = libc.open(cstr(currentPath), closeOnExec);
  check("open", home, currentPath);
  try {
    check("create", libc.unshare(newNetwork), "network namespace");
    try {
      return open(currentPath);
    } finally {
      check("return to", libc.setns(home, newNetwork), "network namespace");
    }
  } finally {
    libc.close(home);
  }
}

/** Runs `task` in the namespace: setns(2). Sockets that it opens stay there. It must be synchronous. */
export function withinNamespace<R>(namespace: NetworkNamespace, task: () => NotPromise<R>): R {
  const home = libc.open(cstr(currentPath), closeOnExec);
  check("open", home, currentPath);
  try {
    check("enter", libc.setns(namespace.fd, newNetwork), "network namespace");
    try {
      return task() as R;
    } finally {
      check("return to", libc.setns(home, newNetwork), "network namespace");
    }
  } finally {
    libc.close(home);
  }
}

type NotPromise<R> = R extends PromiseLike<unknown> ? never : R;

/** The index of an interface where the thread is: if_nametoindex(3). @throws Failure "not_found" */
export function interfaceIndex(name: string): number {
  const index = libc.if_nametoindex(cstr(name));
  return index === 0 ? check("find", -1, `interface ${name}`) : index;
}

/** Moves the thread for good; for programs that want to be elsewhere, such as tests. */
export function enterNamespace(namespace: NetworkNamespace): void {
  check("enter", libc.setns(namespace.fd, newNetwork), "network namespace");
}

/** Lets go of it. The kernel takes it away, with its links, when no process is in it. */
export function closeNamespace(namespace: NetworkNamespace): void {
  libc.close(namespace.fd);
}

/**
 * Finds namespaces by inode among the processes of the machine: how a daemon takes back those whose
 * descriptors it lost with its life. Opens each that it finds.
 */
export function findNamespaces(inodes: ReadonlySet<number>): Map<number, NetworkNamespace> {
  const found = new Map<number, NetworkNamespace>();
  if (inodes.size === 0) return found;
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const path = `/proc/${pid}/ns/net`;
    const inode = inodeOf(path);
    if (inode === undefined || !inodes.has(inode) || found.has(inode)) continue;
    const namespace = openIfThere(path);
    if (namespace?.inode === inode) found.set(inode, namespace);
    else if (namespace) closeNamespace(namespace);
    if (found.size === inodes.size) break;
  }
  return found;
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined; // It ended meanwhile, or is not ours to look at.
  }
}

function openIfThere(path: string): NetworkNamespace | undefined {
  const fd = libc.open(cstr(path), closeOnExec);
  if (fd === -1) return undefined; // The process ended between two looks.
  return { fd, inode: fstatSync(fd).ino, path: `/proc/${process.pid}/fd/${fd}` };
}
