import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../base/mod.ts";
import { makeFifo, openFifo, openProcess, readAvailable, writeAvailable } from "../sys/mod.ts";
import { closePipes, type OutputPipes, openOutputPipes } from "./pipes.ts";
import { runtimeIdFile } from "./runtime-id.ts";
import { sparePrefix } from "./spare.ts";
import { configFile, makePipes, pipeName, startShell, watchScript } from "./watcher.ts";

const refillMs = 10;
const giveTimeoutMs = 10_000;
const nothing = Buffer.alloc(1);

/** A watcher whose OCI runtime has been loaded, and waits for its configuration. */
export interface SpareRun {
  /** It becomes the container's by a rename; it is the working directory of both. */
  readonly directory: string;
  /** A pidfd of the watcher. */
  readonly watcher: number | undefined;
  /** Both ends of the FIFO: whoever reads waits for as long as this is open. */
  readonly config: number;
  readonly pipes: OutputPipes;
  readonly events: number;
}

/**
 * Keeps an OCI runtime ready, so that a start need wait neither for a shell, nor for pipes, nor for the
 * runtime to be loaded: 4 ms. It has no container's ID yet, and so an ID of its own making, which is in
 * a file of its directory. Both end when this daemon does: nobody has the FIFO open for writing then.
 */
export class SpareRuns {
  readonly #parent: string;
  readonly #command: ((id: string) => readonly string[]) | undefined;
  #ready: SpareRun | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** `command`: how the runtime runs a container from the directory that it is in; without, none waits. */
  constructor(parent: string, command: ((id: string) => readonly string[]) | undefined) {
    this.#parent = parent;
    this.#command = command;
  }

  /** Makes one ready when the start that took the last one has been answered: it holds up this thread. */
  prepareSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.prepare();
    }, refillMs);
    this.#timer.unref();
  }

  /** Makes one ready, unless one is. */
  prepare(): void {
    if (this.#ready || this.#isClosed || !this.#command) return;
    this.#ready = make(this.#parent, this.#command);
  }

  /** The one that waits, the caller's from here on; undefined where there is none that lives. */
  take(): SpareRun | undefined {
    const ready = this.#ready;
    this.#ready = undefined;
    if (!ready) return undefined;
    // Its end would be in the pipe, and the pipe has an end without it.
    if (readAvailable(ready.events, nothing) === "waits") return ready;
    drop(ready);
    return undefined;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    if (this.#ready) drop(this.#ready);
    this.#ready = undefined;
  }
}

function make(parent: string, command: (id: string) => readonly string[]): SpareRun {
  const id = randomBytes(32).toString("hex");
  const directory = `${parent}/${sparePrefix}${id}`;
  mkdirSync(directory, { mode: 0o700 });
  writeFileSync(`${directory}/${runtimeIdFile}`, id);
  const plan = { stdin: false, terminal: false };
  makePipes(directory, plan);
  makeFifo(`${directory}/${configFile}`);
  const config = openFifo(`${directory}/${configFile}`, "both");
  const script = watchScript({ ...plan, tells: true, device: undefined, waitsFor: configFile });
  const pid = startShell([script, "sh", ...command(id)], { directory, files: [] });
  return {
    directory,
    config,
    watcher: openProcess(pid),
    pipes: openOutputPipes(directory, false),
    events: openFifo(`${directory}/${pipeName.events}`, "read"),
  };
}

/**
 * Makes a spare one the container's whose directory is named, which is its own or not there, and hands
 * its configuration over. Should we die before a line of this, there is a directory in which nothing was
 * started; after it, one in which a process may have been.
 * @throws "timeout" — it does not take its configuration
 */
export async function giveConfig(
  spare: SpareRun,
  directory: string,
  [name, text]: readonly [name: string, text: string],
): Promise<void> {
  if (spare.directory !== directory) renameSync(spare.directory, directory);
  const path = `${directory}/${name}`;
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  // The runtime reads its file twice: the FIFO, if it has come so far, and then what has its name.
  renameSync(`${path}.new`, path);
  const bytes = Buffer.from(text);
  const deadlineMs = Date.now() + giveTimeoutMs;
  try {
    for (let sent = 0; sent < bytes.length; ) {
      const length = writeAvailable(spare.config, bytes.subarray(sent));
      if (length !== "waits") sent += length;
      else if (Date.now() < deadlineMs) await sleep(1);
      else throw new Failure("timeout", "Cannot hand over a configuration: nobody reads it");
    }
  } finally {
    closeSync(spare.config);
  }
}

/**
 * The end of its configuration ends the runtime, and the runtime's end the shell. The name goes first: a
 * runtime that opened the pipe later would wait for ever for somebody at its other end.
 */
export function drop({ directory, watcher, config, pipes, events }: SpareRun): void {
  rmSync(directory, { recursive: true, force: true });
  closeSync(config);
  closePipes(pipes);
  closeSync(events);
  if (watcher !== undefined) closeSync(watcher);
}
