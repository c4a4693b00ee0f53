import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { log } from "../base/mod.ts";
import { errnoOf } from "../sys/mod.ts";
import type { EngineEvent } from "./types.ts";

/** After so many a new file is begun, and the one before the last is dropped. */
const eventsMaxPerFile = 4_096;

/**
 * Past events on disk, for readers who ask after a restart of the daemon: two files of lines, one event
 * each. Nothing is synced: what a crash of the host takes away is the end of a diary, no state.
 */
export class EventJournal {
  readonly #path: string;
  #file: number | undefined;
  #count: number;

  constructor(path: string) {
    this.#path = path;
    this.#count = linesOf(path).length;
  }

  /** The last events, oldest first. */
  load(countMax: number): EngineEvent[] {
    const lines = [...linesOf(`${this.#path}.1`), ...linesOf(this.#path)].slice(-countMax);
    return lines.flatMap((line) => parseEvent(line) ?? []);
  }

  /** A disk that takes no more must not stop what the event tells of. */
  add({ timeNs, ...event }: EngineEvent): void {
    try {
      if (this.#count >= eventsMaxPerFile) this.#turn();
      this.#file ??= openSync(this.#path, "a", 0o600);
      writeSync(this.#file, `${JSON.stringify({ ...event, timeNs: String(timeNs) })}\n`);
      this.#count++;
    } catch (error) {
      log("debug", "Cannot write down an event", { error });
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #turn(): void {
    this.close();
    rmSync(`${this.#path}.1`, { force: true });
    renameSync(this.#path, `${this.#path}.1`);
    this.#count = 0;
  }
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").filter(Boolean);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** A crash may have torn a line: it is left out. */
function parseEvent(line: string): EngineEvent | undefined {
  try {
    const { timeNs, ...event } = JSON.parse(line);
    return Object.freeze({ ...event, timeNs: BigInt(timeNs) });
  } catch {
    return undefined;
  }
}
