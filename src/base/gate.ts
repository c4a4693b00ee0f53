import { Failure } from "./error.ts";

/** Lets at most `width` tasks run at once; the others wait in order, at most `waitersMax` of them. */
export class Gate {
  #free: number;
  #width: number;
  readonly #waiters: (() => void)[] = [];
  readonly #waitersMax: number;

  constructor(width: number, waitersMax = 10_000) {
    this.#free = width;
    this.#width = width;
    this.#waitersMax = waitersMax;
  }

  /** Sets how many may run from now on; who runs already is not disturbed. */
  resize(width: number): void {
    this.#free += width - this.#width;
    this.#width = width;
    while (this.#free > 0 && this.#waiters.length > 0) {
      this.#free--;
      this.#waiters.shift()!();
    }
  }

  /** True while somebody waits for a place. */
  get isAwaited(): boolean {
    return this.#waiters.length > 0;
  }

  /** Runs `task` when a place is free. @throws Failure "unavailable" when too many wait already */
  async run<T>(task: () => Promise<T> | T): Promise<T> {
    if (this.#free > 0) this.#free--;
    else {
      if (this.#waiters.length >= this.#waitersMax) {
        throw new Failure("unavailable", "Cannot queue the work: too many requests wait already");
      }
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    try {
      return await task();
    } finally {
      const next = this.#free >= 0 ? this.#waiters.shift() : undefined;
      if (next) next();
      else this.#free++;
    }
  }
}

/** One lock per key, in order of arrival; a key's lock is forgotten when nobody holds it. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  async run<T>(key: string, task: () => Promise<T> | T): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.then(task, task);
    const tail = mine.catch(() => {});
    this.#tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
