import { Failure } from "../base/mod.ts";

export type WaitResult = { exitCode: number; error?: string };
type Waiter = { readonly isForRemoval: boolean; readonly resolve: (result: WaitResult) => void };

const goneMs = 60_000;
const goneMax = 1_000;

/** Those who wait for a container to end or to go. */
export class Waiters {
  readonly #gone = new Map<string, { readonly result: WaitResult; readonly atMs: number }>();
  readonly #byId = new Map<string, Set<Waiter>>();

  /** @throws "unavailable" when `signal` aborts first */
  wait(id: string, isForRemoval: boolean, signal: AbortSignal): Promise<WaitResult> {
    return new Promise((resolve, reject) => {
      const waiters = this.#byId.get(id) ?? new Set();
      this.#byId.set(id, waiters);
      const leave = () => {
        waiters.delete(waiter);
        signal.removeEventListener("abort", onAbort);
        if (waiters.size === 0 && this.#byId.get(id) === waiters) this.#byId.delete(id);
      };
      const onAbort = () => {
        leave();
        reject(new Failure("unavailable", `Cannot wait for container ${id}: the caller is gone`));
      };
      const waiter: Waiter = {
        isForRemoval,
        resolve: (result) => {
          leave();
          resolve(result);
        },
      };
      if (signal.aborted) return onAbort();
      waiters.add(waiter);
      signal.addEventListener("abort", onAbort);
    });
  }

  ended(id: string, result: WaitResult): void {
    for (const waiter of [...(this.#byId.get(id) ?? [])]) {
      if (!waiter.isForRemoval) waiter.resolve(result);
    }
  }

  /** How a container ended that was removed in the last minute. */
  gone(id: string): WaitResult | undefined {
    const found = this.#gone.get(id);
    return found && Date.now() - found.atMs < goneMs ? found.result : undefined;
  }

  removed(id: string, result: WaitResult): void {
    if (this.#gone.size >= goneMax) this.#gone.delete(this.#gone.keys().next().value ?? "");
    this.#gone.set(id, { result, atMs: Date.now() });
    for (const waiter of [...(this.#byId.get(id) ?? [])]) waiter.resolve(result);
  }
}
