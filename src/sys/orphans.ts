/**
 * Processes that outlive their parents. The OCI runtime leaves one behind when it cannot start what it
 * was told to run in a container, and until that one is reaped, the container's PID namespace does not
 * end. Most hosts' process 1 reaps at once; one that is a shell, or `sleep` in a container, never.
 */
import { dlopen, FFIType as T } from "bun:ffi";
import { readFileSync } from "node:fs";
import { check, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  prctl: { args: [T.i32, T.u64, T.u64, T.u64, T.u64], returns: T.i32 },
  waitid: { args: [T.i32, T.u32, T.ptr, T.i32], returns: T.i32 },
});
const setChildSubreaper = 36;
const [anyChild, oneChild] = [0, 1];
const [noHang, exited, keep] = [1, 4, 0x0100_0000];
/** Of siginfo_t. */
const [infoBytes, pidAt] = [128, 16];
/** What Bun has started, it has reaped long before. */
const patienceMs = 10_000;
const againMs = 20;

/**
 * Makes this process the parent of what its descendants leave behind, and reaps that, until it is
 * disposed. prctl(2), PR_SET_CHILD_SUBREAPER; waitid(2).
 */
export function adoptOrphans(): Disposable {
  check("adopt", libc.prctl(setChildSubreaper, 1, 0, 0, 0), "orphans");
  const reaper = new Reaper();
  const look = () => reaper.look();
  process.on("SIGCHLD", look);
  return {
    [Symbol.dispose]() {
      process.off("SIGCHLD", look);
      reaper.stop();
      libc.prctl(setChildSubreaper, 0, 0, 0, 0);
    },
  };
}

class Reaper {
  /** An ended child that may be Bun's, and when it was first seen. */
  #seen = { pid: 0, atMs: 0 };
  #again: ReturnType<typeof setTimeout> | undefined;

  look(): void {
    for (let pid = endedChild(); pid !== 0; pid = endedChild()) {
      if (this.#seen.pid !== pid) this.#seen = { pid, atMs: Date.now() };
      const ageMs = Date.now() - this.#seen.atMs;
      if (!isOrphan(pid) && ageMs < patienceMs) {
        this.#lookAgain(ageMs);
        return;
      }
      libc.waitid(oneChild, pid, Buffer.alloc(infoBytes), exited | noHang);
    }
  }

  #lookAgain(ageMs: number): void {
    const waitMs = ageMs < againMs ? againMs : patienceMs - ageMs;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.look(), waitMs).unref();
  }

  stop(): void {
    clearTimeout(this.#again);
  }
}

/** A child that has ended and was not reaped, 0 for none. */
function endedChild(): number {
  const info = Buffer.alloc(infoBytes);
  const result = libc.waitid(anyChild, 0, info, exited | noHang | keep);
  return result === 0 ? info.readInt32LE(pidAt) : 0; // -1: there are no children
}

/** What Bun starts is in this process's session, or leads one of its own. */
function isOrphan(pid: number): boolean {
  const session = sessionOf(pid);
  return session !== undefined && session !== pid && session !== sessionOf(process.pid);
}

/** proc_pid_stat(5): the sixth field, counted behind the name, which may hold anything. */
function sessionOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[3]);
  } catch {
    return undefined; // a worker has reaped what it had started
  }
}
