import { dlopen, FFIType as T } from "bun:ffi";
import { errnoName, failureOf, lastErrno, libcPath } from "./libc.ts";

/**
 * Processes by descriptor: one that is gone is never mistaken for its number's next owner.
 * pidfd_open(2), https://man7.org/linux/man-pages/man2/pidfd_open.2.html. Readable once it has ended.
 */
const { symbols: libc } = dlopen(libcPath, {
  syscall: { args: [T.i64, T.i64, T.i64, T.i64, T.i64], returns: T.i64_fast },
});
const call = { sendSignal: 424, open: 434, getFile: 438 } as const;

/** A descriptor of a process, or undefined when there is none. */
export function openProcess(pid: number): number | undefined {
  const file = Number(libc.syscall(call.open, pid, 0, 0, 0));
  if (file >= 0) return file;
  const errno = lastErrno();
  if (errnoName(errno) === "ESRCH") return undefined;
  throw failureOf("open process", errno, String(pid));
}

/** Sends a signal: false when the process has ended. pidfd_send_signal(2) */
export function signalProcess(process: number, signal: number): boolean {
  if (Number(libc.syscall(call.sendSignal, process, signal, 0, 0)) === 0) return true;
  const errno = lastErrno();
  if (errnoName(errno) === "ESRCH") return false;
  throw failureOf(`send signal ${signal} to`, errno, `process #${process}`);
}

/** A descriptor of our own for what another process has open, or undefined. pidfd_getfd(2) */
export function takeFile(process: number, file: number): number | undefined {
  const ours = Number(libc.syscall(call.getFile, process, file, 0, 0));
  if (ours >= 0) return ours;
  const errno = lastErrno();
  if (["ESRCH", "EBADF"].includes(errnoName(errno))) return undefined;
  throw failureOf(`take descriptor ${file} of`, errno, `process #${process}`);
}
