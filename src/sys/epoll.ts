import { dlopen, FFIType as T } from "bun:ffi";
import { check, errnoName, failureOf, lastErrno, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  epoll_create1: { args: [T.i32], returns: T.i32 },
  epoll_ctl: { args: [T.i32, T.i32, T.i32, T.ptr], returns: T.i32 },
  epoll_wait: { args: [T.i32, T.ptr, T.i32, T.i32], returns: T.i32 },
});
const closeOnExec = 0o2000000;
const control = { add: 1, remove: 2, change: 3 } as const;

/** What to wait for, and what came. `oneShot` disarms a descriptor after its first event. */
export const epollEvent = {
  readable: 1,
  writable: 4,
  error: 8,
  hangUp: 16,
  oneShot: 1 << 30,
} as const;

/** struct epoll_event is packed on x86 alone. */
const isPacked = process.arch === "x64";
const eventBytes = isPacked ? 12 : 16;
const dataAt = isPacked ? 4 : 8;
const eventsMax = 64;

/** Makes an epoll instance: a descriptor that any thread may change and wait on. epoll_create(2) */
export function createEpoll(): number {
  return check("create", libc.epoll_create1(closeOnExec), "epoll");
}

/**
 * Adds a descriptor, or changes what is waited for; `token` (a whole number below 2^53) comes back with
 * each event. epoll_ctl(2). @throws "denied" — a kind of file that is always ready, such as a disk file
 */
export function armEpoll(
  epoll: number,
  file: number,
  { events, token }: { events: number; token: number },
): void {
  const event = Buffer.alloc(eventBytes);
  event.writeUInt32LE(events, 0);
  event.writeBigUInt64LE(BigInt(token), dataAt);
  if (libc.epoll_ctl(epoll, control.change, file, event) === 0) return;
  const errno = lastErrno();
  if (errnoName(errno) !== "ENOENT") throw failureOf("poll", errno, `#${file}`);
  check("poll", libc.epoll_ctl(epoll, control.add, file, event), `#${file}`);
}

/** Stops waiting for a descriptor. One that is not waited for is fine. epoll_ctl(2) */
export function disarmEpoll(epoll: number, file: number): void {
  if (libc.epoll_ctl(epoll, control.remove, file, null) === 0) return;
  const errno = lastErrno();
  if (!["ENOENT", "EPERM"].includes(errnoName(errno))) throw failureOf("poll", errno, `#${file}`);
}

const received = Buffer.alloc(eventBytes * eventsMax);

/** Blocks this thread until something happens, or `timeoutMs` passed (-1: never). epoll_wait(2) */
export function waitEpoll(epoll: number, timeoutMs: number): { events: number; token: number }[] {
  const count = libc.epoll_wait(epoll, received, eventsMax, timeoutMs);
  if (count < 0) {
    const errno = lastErrno();
    if (errnoName(errno) === "EINTR") return [];
    throw failureOf("wait on", errno, `epoll #${epoll}`);
  }
  return Array.from({ length: count }, (_, index) => {
    const at = index * eventBytes;
    const token = Number(received.readBigUInt64LE(at + dataAt));
    return { events: received.readUInt32LE(at), token };
  });
}
