import type { Place } from "./log-cursor.ts";
import { LiveLog } from "./log-live.ts";
import { readLog } from "./log-read.ts";
import type { Output } from "./output.ts";
import type { Pump } from "./pump.ts";
import type { LogSource } from "./pump-protocol.ts";
import type { Chunk, OutputQuery } from "./types.ts";

/** What the pump shall read from; the descriptors are the pump's from then on. */
export interface LogPipes {
  readonly stdout: number;
  readonly stderr?: number;
  /** The outer side of a terminal, and the writing side of the `stdout` pipe that it goes through. */
  readonly terminal?: { readonly file: number; readonly into: number };
}

/** Output that is kept on disk by the pump, and read from there. */
export class LoggedOutput implements Output {
  readonly #pump: Pump;
  readonly #id: number;
  readonly #directory: string;
  readonly #live: LiveLog;
  /** Where the output of this process begins; undefined when an earlier daemon began it. */
  readonly #begin: Place | undefined;

  constructor(
    pump: Pump,
    log: { directory: string; bytesMax: number; isNewRun: boolean },
    pipes: LogPipes,
  ) {
    this.#pump = pump;
    this.#id = pump.number();
    this.#directory = log.directory;
    this.#live = new LiveLog(pump, { id: this.#id, directory: log.directory });
    this.#begin = log.isNewRun ? this.#live.end() : undefined;
    const source = (file: number, stream: 1 | 2): LogSource => {
      return { token: pump.number(), file, stream };
    };
    const { stdout, stderr, terminal } = pipes;
    const sources = [source(stdout, 1), ...(stderr === undefined ? [] : [source(stderr, 2)])];
    const outer = terminal && { token: pump.number(), ...terminal };
    pump.begin(
      { do: "log", id: this.#id, ...log, sources, ...(outer ? { terminal: outer } : {}) },
      this.#live,
    );
  }

  read(query: OutputQuery): AsyncIterable<Chunk> {
    return readLog(this.#directory, query, { growing: this.#live, run: this.#begin });
  }

  async finish(): Promise<void> {
    this.#pump.send({ do: "finish", id: this.#id });
    await this.#live.finishedAll;
  }

  async leave(): Promise<void> {
    this.#pump.leave(this.#id);
    this.#live.abandon();
  }
}
