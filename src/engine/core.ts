import type { KeyedLock } from "../base/mod.ts";
import { log } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import type { ImageStore } from "../image/mod.ts";
import type { Forwarding } from "../logging/mod.ts";
import type { NetworkStore } from "../network/mod.ts";
import type { Exit, RunningProcess, Runtime } from "../runtime/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import type { VolumeStore } from "../volume/mod.ts";
import type { Attachers } from "./attach.ts";
import type { Borrowed } from "./borrow.ts";
import type { ContainerDefaults } from "./defaults.ts";
import type { Events } from "./events.ts";
import type { Execs } from "./exec-table.ts";
import type { HealthMonitor } from "./health.ts";
import type { Records } from "./records.ts";
import type { Tally } from "./tally.ts";
import type { Users } from "./users.ts";
import type { Waiters } from "./waiters.ts";

/** The stores that the engine joins. */
export interface Stores {
  readonly content: ContentStore;
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly runtime: Runtime;
  readonly networks: NetworkStore;
  readonly volumes: VolumeStore;
}

/** A container that runs, for as long as it does. */
export interface Live {
  readonly process: RunningProcess;
  readonly startedAtMs: number;
  /** Settles when the end has been recorded and told; cleaning up may still go on. */
  readonly recorded: Promise<Exit>;
  /** A restart follows at once: what it needs again may stay. */
  isRestarting: boolean;
  /** It was ended because it is unhealthy: its policy says to start it again. */
  isSick: boolean;
  /** The daemon ends: no restart now, whatever the policy says. */
  isHeld: boolean;
  health: HealthMonitor | undefined;
}

/** What the operations of this folder work on. */
export interface Core extends Stores {
  readonly directory: string;
  readonly runtimeName: string;
  /** All that a container may ask for. */
  readonly runtimeNames: readonly string[];
  readonly defaults: () => ContainerDefaults;
  readonly users: Users;
  readonly records: Records;
  readonly events: Events;
  readonly tally: Tally;
  readonly waiters: Waiters;
  readonly attachers: Attachers;
  readonly execs: Execs;
  /** One state change of a container at a time. Never held while a process runs on. */
  readonly locks: KeyedLock;
  readonly live: Map<string, Live>;
  /** Containers that wait to be started again, with what calls it off. */
  readonly restarts: Map<string, () => void>;
  /** Containers whose removal has begun. */
  readonly removing: Set<string>;
  /** Output on its way to log servers. */
  readonly forwardings: Map<string, Forwarding>;
  readonly borrowed: Borrowed;
  readonly background: Background;
}

const background = "Cannot finish work in the background";

/** Work that nobody waits for, except the end of the daemon. */
export class Background {
  readonly #tasks = new Set<Promise<void>>();
  isClosing = false;

  run(what: string, task: () => Promise<unknown>): void {
    const done = task().then(
      () => {},
      (error: unknown) => log("warn", `${background}: ${what}`, { error }),
    );
    this.#tasks.add(done);
    void done.then(() => this.#tasks.delete(done));
  }

  /** Work without an end in sight, such as waiting for a process: `close` does not wait for it. */
  watch(what: string, task: () => Promise<unknown>): void {
    task().catch((error: unknown) => {
      if (!this.isClosing) log("warn", `${background}: ${what}`, { error });
    });
  }

  async close(): Promise<void> {
    this.isClosing = true;
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }
}
