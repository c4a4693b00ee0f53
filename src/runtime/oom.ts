import { closeSync, existsSync, openSync, readlinkSync } from "node:fs";
import {
  type Cgroups,
  cgroupDirectory,
  createEvent,
  makeCgroup,
  readAvailable,
  readCgroup,
  takeFile,
  writeCgroup,
} from "../sys/mod.ts";
import type { Pump } from "./pump.ts";
import { watcherFile } from "./watcher.ts";

const readable = 1;
const killedExitCode = 137;
const settleMs = 20;

/**
 * Knows whether a process of a container was killed for want of memory. The runtime removes the group
 * when the container has ended, so that the counters in it come too late.
 */
export interface OomWatch {
  /** A descriptor that the watcher is to hold for a later daemon. */
  readonly event: number | undefined;
  hasKilled(exitCode: number | undefined): Promise<boolean>;
  close(): void;
}

/** `memory` group of version 1, for a container that is about to start or that an earlier one started. */
export function watchOom(
  pump: Pump,
  cgroups: Cgroups,
  { path, watcher }: { path: string; watcher?: number },
): OomWatch | undefined {
  if (cgroups.version === 2) return new CountedOom(cgroups, path);
  const directory = cgroupDirectory(cgroups, "memory", path);
  if (directory === undefined) return undefined;
  if (watcher !== undefined) {
    const event = takeFile(watcher, watcherFile.oomEvent);
    if (event === undefined) return undefined;
    // Without a limit there was no event, and the shell uses the number for a file of its own.
    if (readlinkSync(`/proc/self/fd/${event}`) === "anon_inode:[eventfd]") {
      return new SignalledOom(pump, event, directory);
    }
    closeSync(event);
    return undefined;
  }
  // Made here so that nothing can happen in the group before we listen.
  makeCgroup(directory);
  const event = createEvent();
  const control = openSync(`${directory}/memory.oom_control`, "r");
  try {
    writeCgroup(directory, "cgroup.event_control", `${event} ${control}`);
  } finally {
    closeSync(control);
  }
  return new SignalledOom(pump, event, directory);
}

/** Version 2: the group above the container's own counts for all below it, and is ours. cgroups(7) */
class CountedOom implements OomWatch {
  readonly event = undefined;
  readonly #directory: string | undefined;

  constructor(cgroups: Cgroups, path: string) {
    this.#directory = cgroupDirectory(cgroups, "memory", path.replace(/\/[^/]*$/, ""));
  }

  async hasKilled(): Promise<boolean> {
    return parseOomKills(readCgroup(this.#directory, "memory.events") ?? "") > 0;
  }

  close(): void {}
}

/** `oom_kill` of memory.events or memory.oom_control. */
export function parseOomKills(text: string): number {
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}

/**
 * Version 1: the kernel counts up an eventfd at each out-of-memory state, before it kills, and once more
 * when the group is gone.
 */
class SignalledOom implements OomWatch {
  readonly event: number;
  readonly #pump: Pump;
  readonly #token: number;
  readonly #directory: string;
  #count = 0;
  #isSeen = false;
  #isClosed = false;

  constructor(pump: Pump, event: number, directory: string) {
    this.#pump = pump;
    this.event = event;
    this.#directory = directory;
    this.#token = pump.number();
    void this.#listen();
  }

  async hasKilled(exitCode: number | undefined): Promise<boolean> {
    this.#take();
    // One count may be the state, or the group's end: only in doubt wait for the other.
    if (!this.#isSeen && this.#count === 1 && exitCode === killedExitCode) {
      await Bun.sleep(settleMs);
      this.#take();
    }
    return this.#isSeen || this.#count > 1;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pump.forget(this.#token, this.event);
    closeSync(this.event);
  }

  async #listen(): Promise<void> {
    while (!this.#isClosed) {
      await this.#pump.ready(this.#token, this.event, readable);
      this.#take();
    }
  }

  #take(): void {
    if (this.#isClosed) return;
    const value = Buffer.alloc(8);
    if (readAvailable(this.event, value) !== 8) return;
    this.#count += Number(value.readBigUInt64LE());
    if (existsSync(`${this.#directory}/memory.oom_control`)) this.#isSeen = true;
  }
}
