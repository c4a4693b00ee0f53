import type { Reason } from "./reasons.ts";
import type { BuildEvent, Outcome } from "./types.ts";

/** Tells once how a step came about, and how long it took. */
export class StepClock {
  readonly #number: number;
  readonly #tell: (event: BuildEvent) => void;
  readonly #beganMs = performance.now();
  #isSettled = false;

  constructor(number: number, tell: (event: BuildEvent) => void) {
    this.#number = number;
    this.#tell = tell;
  }

  settle(outcome: Outcome, reasons: readonly Reason[]): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const ms = Math.round(performance.now() - this.#beganMs);
    this.#tell({ kind: "settled", number: this.#number, outcome, reasons, ms });
  }

  /** A step that said nothing else was carried out. */
  end(): void {
    this.settle("made", []);
  }

  fail(isCancelled: boolean): void {
    this.settle(isCancelled ? "cancelled" : "failed", []);
  }
}
