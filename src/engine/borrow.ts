import type { Core } from "./core.ts";
import { unmountVolumes } from "./mounts.ts";

/** `cp` looks, then copies: the mount stays for so long after its last user. */
const lingerMs = 2_000;

/** Mounts of containers that do not run, for as long as somebody copies. */
export class Borrowed {
  readonly #users = new Map<string, number>();
  readonly #timers = new Map<string, Timer>();

  hold(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    this.#users.set(id, (this.#users.get(id) ?? 0) + 1);
  }

  /** Calls `last` some time after nobody holds it any more. */
  release(id: string, last: () => void): void {
    const users = (this.#users.get(id) ?? 1) - 1;
    if (users > 0) {
      this.#users.set(id, users);
      return;
    }
    this.#users.delete(id);
    clearTimeout(this.#timers.get(id));
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      if (!this.#users.has(id)) last();
    }, lingerMs);
    timer.unref();
    this.#timers.set(id, timer);
  }
}

/** Runs `task` while the root of a container can be used, and lets it go some time after. */
export async function withMounted<T>(core: Core, id: string, task: () => Promise<T>): Promise<T> {
  core.borrowed.hold(id);
  try {
    return await task();
  } finally {
    release(core, id);
  }
}

/** The same for a stream: the root stays until the stream has ended. */
export async function* whileMounted(
  core: Core,
  id: string,
  open: () => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>,
): AsyncGenerator<Uint8Array> {
  core.borrowed.hold(id);
  try {
    yield* await open();
  } finally {
    release(core, id);
  }
}

function release(core: Core, id: string): void {
  core.borrowed.release(id, () => {
    core.background.run("unmount", () =>
      core.locks.run(id, async () => {
        if (core.live.has(id) || !core.records.find(id)) return;
        await unmountVolumes(core, id, core.records.inside(id).mounts);
        await core.snapshots.unmount(id);
      }),
    );
  });
}
