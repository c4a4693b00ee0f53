/** What a command is: a value with its grammar and a function. Its file is loaded when it is called. */
import type { FlagTable, FlagValues } from "./flags.ts";
import type { Globals } from "./globals.ts";

/** What a command is called with. */
export interface Call<T extends FlagTable> {
  readonly flags: FlagValues<T>;
  readonly args: readonly string[];
  /** Names of the flags that were given. */
  readonly given: ReadonlySet<string>;
  readonly globals: Globals;
  /** How it was called: `container ls`. */
  readonly name: string;
}

export interface Command<T extends FlagTable = FlagTable> {
  /** What follows the name: `[OPTIONS] CONTAINER [CONTAINER...]`. */
  readonly usage: string;
  readonly flags: T;
  /** How many arguments it takes; `max` is endless when absent. */
  readonly arguments: { readonly min: number; readonly max?: number };
  /** False: what follows the first argument belongs to somebody else. */
  readonly interspersed?: boolean;
  /** The exit code for what it throws, 1 when absent; `run` has 125. */
  readonly failureCode?: number;
  /** Returns the exit code. */
  run(call: Call<T>): Promise<number>;
}

/** Gives a command its types. */
export function defineCommand<const T extends FlagTable>(command: Command<T>): Command<T> {
  return command;
}
