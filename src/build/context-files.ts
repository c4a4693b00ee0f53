import { randomBytes } from "node:crypto";
import { Failure } from "../base/mod.ts";
import type { TakenContext } from "./types.ts";

/** The files of a context that was only listed: a client sends those that a step needs. */
export interface ContextFiles {
  /** Path of the listing. */
  readonly listing: string;
  /** A folder with what is at these paths; it stays until the build has ended, or somebody takes it. */
  open(paths: readonly string[]): Promise<SentFiles>;
}

/** What a client sent. */
export interface SentFiles {
  readonly root: string;
  /**
   * Makes the folder the caller's, to move away or change: whoever opens these paths later gets them
   * sent anew. False when another step has it as well, or it is in memory.
   */
  take(): boolean;
}

const answerTimeoutMs = 10 * 60_000;

/** Questions to clients that are waited for: each is answered by a context, once. */
export class Demands {
  readonly #open = new Map<string, (taken: TakenContext) => void>();

  /** @throws Failure "timeout" | the signal's reason */
  async ask(tell: (id: string) => void, signal: AbortSignal): Promise<TakenContext> {
    const id = randomBytes(16).toString("hex");
    const { promise, resolve, reject } = Promise.withResolvers<TakenContext>();
    this.#open.set(id, resolve);
    const late = setTimeout(() => {
      reject(new Failure("timeout", "The client did not send the files of the context in time"));
    }, answerTimeoutMs);
    const stop = () => reject(new Failure("unavailable", "Build cancelled"));
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      tell(id);
      return await promise;
    } finally {
      this.#open.delete(id);
      clearTimeout(late);
      signal.removeEventListener("abort", stop);
    }
  }

  /** @throws Failure "not_found" — nobody waits for that */
  answer(id: string, taken: TakenContext): void {
    const resolve = this.#open.get(id);
    if (!resolve)
      throw new Failure("not_found", `No build waits for the files "${id.slice(0, 64)}"`);
    this.#open.delete(id);
    resolve(taken);
  }
}

/** A listed context; `cleanup` ends what clients have sent. */
export function contextFiles(
  listing: string,
  demand: (paths: readonly string[]) => Promise<TakenContext>,
  cleanup: AsyncDisposableStack,
): ContextFiles {
  const opened = new Map<string, { readonly files: Promise<SentFiles>; users: number }>();
  const open = (paths: readonly string[]) => {
    const key = JSON.stringify(paths);
    const known = opened.get(key);
    if (known) {
      known.users++;
      return known.files;
    }
    const files = demand(paths).then((taken) => {
      const { path: root, isOnDisk = false } = cleanup.use(taken);
      return { root, take: () => isOnDisk && one.users === 1 && opened.delete(key) };
    });
    const one = { files, users: 1 };
    files.catch(() => {}); // who asked hears of it
    opened.set(key, one);
    return files;
  };
  return { listing, open };
}
