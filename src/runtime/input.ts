import { closeSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { enlargePipe, openFifo, writeAvailable } from "../sys/mod.ts";
import type { Pump } from "./pump.ts";
import { pipeName } from "./watcher.ts";

const writable = 4;
export const pipeBytes = 1 << 20;

/** The writing side of a process's stdin, or of its terminal. */
export class Input {
  readonly #pump: Pump;
  readonly #file: number;
  readonly #token: number;
  /** The pipe by which the watcher is told to end stdin; a terminal has no end. */
  readonly #end: number | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #state: "open" | "ending" | "ended" | "closed" = "open";

  private constructor(pump: Pump, file: number, end: number | undefined) {
    this.#pump = pump;
    this.#file = file;
    this.#end = end;
    this.#token = pump.number();
  }

  /** The stdin of a process that has been started: it has the reading side. */
  static ofPipe(pump: Pump, directory: string): Input {
    const end = openFifo(`${directory}/${pipeName.endInput}`, "both");
    const file = openFifo(`${directory}/${pipeName.stdin}`, "write");
    enlargePipe(file, pipeBytes);
    return new Input(pump, file, end);
  }

  /** What is typed at a terminal; the descriptor is ours from here on. */
  static ofTerminal(pump: Pump, file: number): Input {
    return new Input(pump, file, undefined);
  }

  /** Resolves when the kernel has all of it; in order of the calls. @throws "unavailable" */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#state !== "open") return Promise.reject(closed());
    const done = this.#last.then(() => this.#writeAll(bytes));
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Ends stdin behind what is being written. */
  end(): void {
    if (this.#state !== "open" || this.#end === undefined) return;
    this.#state = "ending";
    void this.#last.then(() => this.#endNow());
  }

  /** Lets go without a word to the process: it has ended, or another daemon goes on. */
  close(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "ended") this.#closeFile();
    this.#state = "closed";
    if (this.#end !== undefined) closeSync(this.#end);
  }

  #endNow(): void {
    if (this.#state !== "ending") return;
    this.#state = "ended";
    // This descriptor stays open: the watcher may not have come to read the line yet.
    writeAvailable(this.#end!, Buffer.from("\n"));
    this.#closeFile();
  }

  #closeFile(): void {
    this.#pump.forget(this.#token, this.#file);
    closeSync(this.#file);
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#state === "closed" || this.#state === "ended") throw closed();
      const written = writeAvailable(this.#file, bytes.subarray(at));
      if (written === "waits") await this.#pump.ready(this.#token, this.#file, writable);
      else at += written;
    }
  }
}

function closed(): Failure {
  return new Failure("unavailable", "Cannot write to the process: its stdin is closed");
}
