import { closeSync, statSync } from "node:fs";
import { openProcess, readAvailable, resizeTerminal, signalProcess } from "../sys/mod.ts";
import type { Input } from "./input.ts";
import type { OomWatch } from "./oom.ts";
import type { Output } from "./output.ts";
import type { Pump } from "./pump.ts";
import type { Terminal } from "./terminal.ts";
import type { Chunk, Exit, OutputQuery, RunningProcess } from "./types.ts";
import { parseEvents, readExit } from "./watcher.ts";

const readable = 1;
const SIGKILL = 9;
/** The exit code of a process whose end nobody saw, as Docker has it. */
const unknownExitCode = 255;

/** What tells of a watcher: its process, and the pipe that it writes to. */
export interface Watch {
  readonly directory: string;
  /** A pidfd; undefined when the watcher is gone. */
  readonly watcher: number | undefined;
  readonly events: number;
}

/** Follows what a watcher writes. */
export class WatchedEvents {
  readonly #pump: Pump;
  readonly #watch: Watch;
  readonly #tokens: readonly [number, number];
  #text = "";
  #isClosed = false;

  constructor(pump: Pump, watch: Watch) {
    this.#pump = pump;
    this.#watch = watch;
    this.#tokens = [pump.number(), pump.number()];
  }

  /** Resolves with the process ID, or with undefined when the watcher came to an end without one. */
  async started(): Promise<number | undefined> {
    await this.#until(() => parseEvents(this.#text).pid !== undefined);
    return parseEvents(this.#text).pid;
  }

  /** Resolves with the exit code; undefined when the watcher was killed, or `close` was called. */
  async ended(): Promise<number | undefined> {
    const { directory } = this.#watch;
    // An earlier daemon may have read the event and died: then the file tells.
    if (readExit(directory) === undefined) {
      await this.#until(() => parseEvents(this.#text).exitCode !== undefined);
    }
    return this.#isClosed ? undefined : readExit(directory);
  }

  /** The watcher has told the end of what it ran. */
  get hasEnded(): boolean {
    return parseEvents(this.#text).exitCode !== undefined;
  }

  /** What has come so far. */
  peek(): string {
    this.#read();
    return this.#text;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { events, watcher } = this.#watch;
    this.#pump.forget(this.#tokens[0], events);
    closeSync(events);
    if (watcher === undefined) return;
    this.#pump.forget(this.#tokens[1], watcher);
    closeSync(watcher);
  }

  async #until(isKnown: () => boolean): Promise<void> {
    const { events, watcher } = this.#watch;
    let isGone = watcher === undefined;
    for (;;) {
      this.#read();
      const isOver = parseEvents(this.#text).exitCode !== undefined;
      if (isKnown() || isOver || isGone || this.#isClosed) return;
      const death = this.#pump.ready(this.#tokens[1], watcher!, readable).then((event) => {
        if (event) isGone = true;
      });
      await Promise.race([this.#pump.ready(this.#tokens[0], events, readable), death]);
    }
  }

  #read(): void {
    if (this.#isClosed) return;
    const bytes = Buffer.alloc(256);
    const length = readAvailable(this.#watch.events, bytes);
    if (length !== "waits") this.#text += bytes.toString("latin1", 0, length);
  }
}

/** What a running process consists of, on our side. */
export interface ProcessParts {
  readonly watch: Watch;
  readonly events: WatchedEvents;
  readonly output: Output;
  readonly input: Input | undefined;
  readonly terminal: Terminal | undefined;
  readonly oom: OomWatch | undefined;
  /** Its end is nobody's to know once this daemon is gone. */
  readonly isTransient: boolean;
  /** Called when everything has been let go of after the end. */
  readonly onEnded: () => void;
}

/** A process with its watcher, whether we started it or an earlier daemon did. */
export class WatchedProcess implements RunningProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #parts: ProcessParts;
  readonly #process: number | undefined;
  #isOver = false;

  constructor(pid: number, parts: ProcessParts) {
    this.pid = pid;
    this.#parts = parts;
    this.#process = pid > 0 ? openProcess(pid) : undefined;
    this.exited = this.#follow();
  }

  read(query: OutputQuery): AsyncIterable<Chunk> {
    return this.#parts.output.read(query);
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#parts.input?.write(bytes);
  }

  closeStdin(): void {
    this.#parts.input?.end();
  }

  resize(rows: number, columns: number): void {
    const { terminal } = this.#parts;
    if (terminal && !this.#isOver) resizeTerminal(terminal.control, { rows, columns });
  }

  signal(signal: number): void {
    if (this.#process !== undefined && !this.#isOver) signalProcess(this.#process, signal);
  }

  /** The daemon goes, the process stays: nothing is told to it, and `exited` never settles. */
  async leave(): Promise<void> {
    if (this.#isOver) return;
    this.#release();
    await this.#parts.output.leave();
  }

  async #follow(): Promise<Exit> {
    const { events, output, watch, oom, isTransient, onEnded } = this.#parts;
    const exitCode = await events.ended();
    // The daemon leaves, and the end is for the next one to see.
    if (events.isClosed) return await new Promise<never>(() => {});
    const atMs = endTimeMs(watch.directory);
    // Somebody killed the watcher: nobody would see the end of the process any more.
    if (exitCode === undefined) this.signal(SIGKILL);
    const oomKilled = oom ? await oom.hasKilled(exitCode) : false;
    await output.finish();
    // Whoever removed it meanwhile has let go of everything.
    if (!this.#isOver) {
      // The watcher stays until `Runtime.remove`: a daemon that dies before it has written this end down
      // leaves it to the next one.
      if (isTransient && watch.watcher !== undefined) signalProcess(watch.watcher, SIGKILL);
      this.#release();
      onEnded();
    }
    return { exitCode: exitCode ?? unknownExitCode, oomKilled, atMs };
  }

  #release(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { events, input, terminal, oom } = this.#parts;
    events.close();
    input?.close();
    terminal?.close();
    oom?.close();
    if (this.#process !== undefined) closeSync(this.#process);
  }
}

function endTimeMs(directory: string): number {
  const file = statSync(`${directory}/exit`, { throwIfNoEntry: false });
  return file?.mtimeMs ?? Date.now();
}
