import { closeSync } from "node:fs";
import { errnoOf, readAvailable, spliceAvailable, writeAvailable } from "../sys/mod.ts";
import { LogWriter } from "./log-write.ts";
import type { LogSource, PumpCommand } from "./pump-protocol.ts";

type LogCommand = Extract<PumpCommand, { do: "log" }>;
/** "more": there may be more; "waits": nothing now; "ended": never again; "full": ask before going on. */
export type Step = "more" | "waits" | "ended" | "full" | "lost";

const retryMs = 1_000;
const terminalBytesMax = 64 << 10;
let canSpliceTerminal = true;
const scratch = Buffer.alloc(terminalBytesMax);

/** The output of one process on its way to its log. */
export class PumpedLog {
  readonly id: number;
  readonly sources: readonly LogSource[];
  readonly terminal: LogCommand["terminal"];
  /** Somebody wants to know of the next bytes. */
  isWatched = false;
  isFinishing = false;
  isParked = false;
  /** Undefined while the log cannot be opened: the process shall run all the same. */
  #writer: LogWriter | undefined;
  readonly #command: LogCommand;
  #triedAtMs = Date.now();
  readonly #sink: number;

  constructor(command: LogCommand, sink: number) {
    this.id = command.id;
    this.sources = command.sources;
    this.terminal = command.terminal;
    this.#sink = sink;
    this.#command = command;
    this.#writer = openWriter(command);
  }

  get isLost(): boolean {
    return this.#writer === undefined;
  }

  get position(): number {
    return this.#writer?.position ?? 0;
  }

  get tooOld(): number | undefined {
    return this.#writer?.tooOld;
  }

  dropOldest(): void {
    this.#writer?.dropOldest();
  }

  /** Moves once what is there; a terminal's bytes by way of its pipe, so that they are always in one. */
  step(token: number): Step {
    if (token !== this.terminal?.token) {
      const source = this.sources.find((one) => one.token === token);
      return source ? this.#take(source) : "ended";
    }
    const [pipe] = this.sources;
    const rest = this.#take(pipe!);
    if (rest === "full" || rest === "lost") return rest;
    const moved = fill(this.terminal.file, this.terminal.into);
    if (moved === "waits") return rest === "more" ? "more" : "waits";
    if (moved === 0) return "ended";
    const taken = this.#take(pipe!);
    return taken === "waits" ? "more" : taken;
  }

  #take(source: LogSource): Step {
    if (this.tooOld !== undefined) return "full";
    try {
      this.#writer ??= this.#openAgain();
      if (!this.#writer) return this.#lose(source);
      const moved = this.#writer.take(source.file, source.stream);
      if (moved === "waits") return "waits";
      return moved === 0 ? "ended" : "more";
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return this.#lose(source);
    }
  }

  /** A disk that was full at the start may have room by now. */
  #openAgain(): LogWriter | undefined {
    if (Date.now() - this.#triedAtMs < retryMs) return undefined;
    this.#triedAtMs = Date.now();
    return openWriter(this.#command);
  }

  /** A disk that is full must not stop the container: this part of its output is lost. */
  #lose(source: LogSource): Step {
    const moved = spliceAvailable(source.file, this.#sink, { bytesMax: 1 << 20 });
    if (moved === "waits") return "waits";
    return moved === 0 ? "ended" : "lost";
  }

  close(): void {
    this.#writer?.close();
    for (const { file } of this.sources) closeSync(file);
    if (this.terminal) {
      closeSync(this.terminal.file);
      closeSync(this.terminal.into);
    }
  }
}

function openWriter(command: LogCommand): LogWriter | undefined {
  try {
    return new LogWriter(command.directory, command);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

function fill(terminal: number, pipe: number): number | "waits" {
  if (canSpliceTerminal) {
    try {
      return spliceAvailable(terminal, pipe, { bytesMax: terminalBytesMax });
    } catch (error) {
      if (errnoOf(error) !== "EINVAL") throw error;
      canSpliceTerminal = false; // before Linux 6.5
    }
  }
  const length = readAvailable(terminal, scratch);
  if (length === "waits" || length === 0) return length;
  for (let at = 0; at < length; ) {
    const written = writeAvailable(pipe, scratch.subarray(at, length));
    if (written === "waits") break; // the pipe is empty and larger: it does not happen
    at += written;
  }
  return length;
}
