import type { Build } from "./build.ts";
import type { ConfigureOptions } from "./configure.ts";
import type { Instruction } from "./instruction.ts";
import type { Reason } from "./reasons.ts";
import type { StepSlot } from "./records.ts";
import type { Place } from "./result.ts";
import type { Stage } from "./stages.ts";
import type { StageState } from "./state.ts";
import type { Outcome } from "./types.ts";

/** One instruction while it is carried out: what a step may ask of its build. */
export interface StepScope {
  readonly build: Build;
  readonly stage: Stage;
  readonly state: StageState;
  readonly number: number;
  readonly instruction: Instruction;
  /** Where it stands, to be found again; undefined for a trigger. */
  readonly slot: StepSlot | undefined;
  /** The flag that keeps the step from the cache. */
  readonly forced: string | undefined;
  readonly options: ConfigureOptions;
  /** Where the instruction stands. */
  readonly place: Place;
  /** Tells that the step came from the cache; at most once. */
  cached(): void;
  /** Tells how the step came about. */
  settle(outcome: Outcome, reasons: readonly Reason[]): void;
  output(stream: 1 | 2, bytes: Uint8Array): void;
  warn(text: string): void;
}
