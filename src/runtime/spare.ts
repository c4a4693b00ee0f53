import { closeSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { makeFifo, openFifo, writeAvailable } from "../sys/mod.ts";
import { configFile, startShell, startWatcher, type WatchPlan, watchText } from "./watcher.ts";

/** What the names of spare ones begin with, below the runtime's directory. */
export const sparePrefix = "spare-";
const refillMs = 10;
const script = 'read -r d <"$1" && cd "$d" && . ./watch';

/**
 * Ends one that waits at a pipe for what a daemon that is dead would have given: true where there is such
 * a pipe. It may have come to it after the daemon's end, and would wait for ever.
 */
export function endWaiting(path: string): boolean {
  const isWaiting = statSync(path, { throwIfNoEntry: false })?.isFIFO() ?? false;
  if (!isWaiting) return false;
  const held = openFifo(path, "both");
  // The name first: who opens the pipe later would wait for ever for somebody at its other end.
  rmSync(path, { force: true });
  closeSync(held);
  return true;
}

/** A watcher that has been started. */
export interface Started {
  readonly pid: number;
  /** To be called once it has shown signs of life, or none was seen for too long. */
  release(): void;
}

interface Ready {
  readonly pid: number;
  readonly pipe: number;
  readonly path: string;
}

/**
 * Keeps a shell that waits to become a watcher, so that a start need not wait for a shell: a millisecond.
 * The shell ends when this daemon does: nobody has its pipe open for writing then.
 */
export class Spare {
  readonly #directory: string;
  #count = 0;
  #ready: Ready | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Ends what waited for an earlier daemon, and had not got as far as to see its end. */
  removeOld(): void {
    for (const name of readdirSync(this.#directory)) {
      if (!name.startsWith(sparePrefix)) continue;
      const path = `${this.#directory}/${name}`;
      if (!endWaiting(path)) endWaiting(`${path}/${configFile}`);
      rmSync(path, { recursive: true, force: true });
    }
  }

  /** Makes one ready when the start that took the last one has been answered: a spawn holds up this thread. */
  prepareSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.prepare();
    }, refillMs);
    this.#timer.unref();
  }

  /** Makes one ready, unless one is. */
  prepare(): void {
    if (this.#ready || this.#isClosed) return;
    const path = `${this.#directory}/${sparePrefix}${process.pid}-${++this.#count}`;
    rmSync(path, { force: true });
    makeFifo(path);
    const pipe = openFifo(path, "both");
    const pid = startShell([script, "sh", path], { directory: this.#directory, files: [] });
    this.#ready = { pid, pipe, path };
  }

  /** As `startWatcher`, with the shell that waits where it can be used. */
  start(plan: WatchPlan): Started {
    const ready = this.#ready;
    const inherits = plan.terminal !== undefined || plan.oomEvent !== undefined;
    if (!ready || inherits || plan.directory.includes("\n")) {
      return { pid: startWatcher(plan), release: () => {} };
    }
    this.#ready = undefined;
    writeFileSync(`${plan.directory}/watch`, watchText(plan), { mode: 0o600 });
    writeAvailable(ready.pipe, Buffer.from(`${plan.directory}\n`));
    return { pid: ready.pid, release: () => this.#release(ready) };
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    if (this.#ready) this.#release(this.#ready);
    this.#ready = undefined;
  }

  #release({ pipe, path }: Ready): void {
    rmSync(path, { force: true });
    closeSync(pipe);
  }
}
