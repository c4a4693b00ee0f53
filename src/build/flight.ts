/** Output of work that several builds wait for. */
export type Listener = (stream: 1 | 2, bytes: Uint8Array) => void;

interface Flight<T> {
  readonly result: Promise<T>;
  readonly listeners: Set<Listener>;
  /** What was printed before a later build joined; bounded. */
  readonly replay: { stream: 1 | 2; bytes: Uint8Array }[];
}

const replayChunksMax = 256;

/**
 * Runs equal work once: who asks for a key that is under way waits for it and sees its output. When
 * the one who leads fails, each of the others tries for itself: the failure may be the leader's own
 * (it was cancelled).
 */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  async run(
    key: string,
    listener: Listener,
    work: (tell: Listener) => Promise<T>,
  ): Promise<{ value: T; joined: boolean }> {
    for (;;) {
      const current = this.#flights.get(key);
      if (!current) return { value: await this.#lead(key, listener, work), joined: false };
      for (const { stream, bytes } of current.replay) listener(stream, bytes);
      current.listeners.add(listener);
      const outcome = await current.result.then(
        (value) => ({ value }),
        () => undefined,
      );
      if (outcome) return { value: outcome.value, joined: true };
    }
  }

  async #lead(key: string, listener: Listener, work: (tell: Listener) => Promise<T>): Promise<T> {
    const listeners = new Set([listener]);
    const replay: Flight<T>["replay"] = [];
    const tell: Listener = (stream, bytes) => {
      if (replay.length < replayChunksMax) replay.push({ stream, bytes });
      for (const each of listeners) each(stream, bytes);
    };
    const result = work(tell);
    this.#flights.set(key, { result, listeners, replay });
    try {
      return await result;
    } finally {
      this.#flights.delete(key);
    }
  }
}
