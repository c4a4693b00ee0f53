import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { type Cgroups, cgroupDirectory } from "./cgroup.ts";
import { errnoOf } from "./libc.ts";

/** For at least so long after a move the next one does not wait. */
const warmMs = 8;
/** After so long it does; a kernel whose moves were over within `quickMs` several times never waits. */
const coldMs = 100;
const quickMs = 2;
const quickMovesMin = 4;

/**
 * The first move of a process into a control group after a pause waits until every CPU has passed
 * through the scheduler: 6 to 16 ms (a grace period of RCU, in the kernel's cgroup_attach_lock). The
 * next ones, within some 20 ms, do not. This begins that wait ahead, while other work goes on. With the
 * control groups mounted with `favordynmods` nothing waits, and this stops by itself.
 */
export class GroupMoves {
  readonly #controller: string;
  readonly #cgroups: Cgroups;
  #isBusy = false;
  #quickMoves = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(cgroups: Cgroups) {
    this.#cgroups = cgroups;
    this.#controller = ["pids", "memory", "freezer"].find((name) => cgroups.roots.has(name)) ?? "";
  }

  /** A process will be moved soon. Returns at once; what goes wrong costs time alone. */
  expect(): void {
    const startMs = performance.now();
    const pauseMs = startMs - this.#lastMs;
    if (this.#isBusy || pauseMs < warmMs || this.#quickMoves >= quickMovesMin) return;
    this.#isBusy = true;
    void this.#moveNowhere().finally(() => {
      this.#isBusy = false;
      this.#lastMs = performance.now();
      if (this.#lastMs - startMs > quickMs) this.#quickMoves = 0;
      else if (pauseMs > coldMs) this.#quickMoves++;
    });
  }

  /** Moves this process to where it is: nothing changes, but the kernel waits all the same. */
  async #moveNowhere(): Promise<void> {
    const directory = cgroupDirectory(this.#cgroups, this.#controller, this.#ownPath());
    if (directory === undefined) return;
    try {
      await using file = await open(`${directory}/cgroup.procs`, "r+");
      await file.write("0"); // "the one that writes", on a thread of the pool: it blocks
    } catch (error) {
      // The group may be out of sight or closed to moves: then the real move waits, as it would have.
      if (errnoOf(error) === undefined) throw error;
    }
  }

  /** The group of this process in that tree. cgroups(7), "/proc/[pid]/cgroup" */
  #ownPath(): string {
    for (const line of readFileSync("/proc/self/cgroup", "utf8").split("\n")) {
      const [, controllers = "", path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      if (line && controllers.split(",").includes(this.#controller)) return path;
    }
    return "/";
  }
}
