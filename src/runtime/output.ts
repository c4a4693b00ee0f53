import type { Chunk, OutputQuery } from "./types.ts";

/** Where the output of a running process is read. */
export interface Output {
  read(query: OutputQuery): AsyncIterable<Chunk>;
  /** The process has ended; resolves when all of its output is kept, or is free to be read. */
  finish(): Promise<void>;
  /** Another daemon will go on: lets go of everything, and ends the readers. */
  leave(): Promise<void>;
}
