import type { BuildEvent } from "./types.ts";

/** Output of stages whose turn has not come is held back up to this many bytes. */
const heldBytesMax = 1 << 20;

/**
 * Tells the events of stages that run at the same time one stage after the other, so that a plain log
 * reads as the Dockerfile does. The first unfinished stage is told as it goes.
 */
export class Teller {
  readonly #report: (event: BuildEvent) => void;
  readonly #open: number[];
  readonly #held = new Map<number, BuildEvent[]>();
  readonly #finished = new Set<number>();
  #heldBytes = 0;

  constructor(report: (event: BuildEvent) => void, stages: readonly number[]) {
    this.#report = report;
    this.#open = [...stages].sort((a, b) => a - b);
  }

  tell(stage: number, event: BuildEvent): void {
    if (stage === this.#open[0] || !this.#open.includes(stage)) {
      this.#report(event);
      return;
    }
    if (event.kind === "output") this.#heldBytes += event.bytes.length;
    const held = this.#held.get(stage) ?? [];
    held.push(event);
    this.#held.set(stage, held);
    if (this.#heldBytes > heldBytesMax) this.#release();
  }

  /** The stage tells no more; the next one's turn has come. */
  finish(stage: number): void {
    this.#finished.add(stage);
    while (this.#open.length > 0 && this.#finished.has(this.#open[0]!)) {
      this.#open.shift();
      if (this.#open.length > 0) this.#flush(this.#open[0]!);
    }
  }

  /** Everything that is held, in order: the build is over, or holds too much. */
  #release(): void {
    for (const stage of this.#open) this.#flush(stage);
  }

  end(): void {
    this.#release();
    this.#open.length = 0;
  }

  #flush(stage: number): void {
    for (const event of this.#held.get(stage) ?? []) {
      if (event.kind === "output") this.#heldBytes -= event.bytes.length;
      this.#report(event);
    }
    this.#held.delete(stage);
  }
}
