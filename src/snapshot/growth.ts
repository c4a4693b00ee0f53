/**
 * How far a file is that somebody else writes: one word that threads share. Its bytes up to `sizeBytes`
 * are there and stay as they are.
 */
export class Growth {
  readonly words: BigInt64Array;
  /** Told of each change, on the writer's thread. */
  onChange: (() => void) | undefined;

  /** With the words of another thread's, the same file's. */
  constructor(words: BigInt64Array = new BigInt64Array(new SharedArrayBuffer(8))) {
    this.words = words;
  }

  /** "broken": what was read is of no use, as the file is begun anew or given up. */
  tell(sizeBytes: number, state: "grows" | "whole" | "broken" = "grows"): void {
    if (this.state !== "grows") return;
    const word = BigInt(sizeBytes) * 4n + BigInt(states.indexOf(state));
    Atomics.store(this.words, 0, word);
    Atomics.notify(this.words, 0);
    this.onChange?.();
  }

  get sizeBytes(): number {
    return Number(Atomics.load(this.words, 0) / 4n);
  }

  get state(): "grows" | "whole" | "broken" {
    return states[Number(Atomics.load(this.words, 0) % 4n)]!;
  }

  /** Blocks until there is more than `sizeBytes`, or no more comes: for workers. */
  wait(sizeBytes: number, abort: () => void): void {
    for (;;) {
      const word = Atomics.load(this.words, 0);
      if (word % 4n !== 0n || Number(word / 4n) > sizeBytes) return;
      abort();
      Atomics.wait(this.words, 0, word, abortEveryMs);
    }
  }
}

const states = ["grows", "whole", "broken"] as const;
const abortEveryMs = 200;
