import type { Cgroups, GroupMoves } from "../sys/mod.ts";
import type { Filters } from "./filters.ts";
import type { WatchedProcess } from "./process.ts";
import type { Program, Programs } from "./programs.ts";
import type { Pump } from "./pump.ts";
import type { Spare } from "./spare.ts";

/** What the operations of this folder work with. */
export interface Host {
  /** Below the exec root. */
  readonly directory: string;
  readonly programs: Programs;
  readonly pump: Pump;
  readonly cgroups: Cgroups;
  readonly moves: GroupMoves;
  readonly filters: Filters;
  readonly spare: Spare;
  /** Processes that we watch now, by the directory they have. */
  readonly running: Map<string, WatchedProcess>;
}

export function containerDirectory(host: Host, id: string): string {
  return `${host.directory}/run/${id}`;
}

export function execDirectory(host: Host, id: string, execId: string): string {
  return `${containerDirectory(host, id)}/exec-${execId}`;
}

/** Where the OCI runtime keeps its own state: ours alone, so that engines do not meet. */
export function runtimeState(host: Host): string {
  return `${host.directory}/state`;
}

/** The front of every command line of an OCI runtime. */
export function runtimeCommand(host: Host, { argv, isCrun }: Program): [string, ...string[]] {
  const manager = host.cgroups.roots.size === 0 ? "disabled" : "cgroupfs";
  const [program = "", ...args] = argv;
  const own = isCrun ? [`--cgroup-manager=${manager}`] : [];
  return [program, ...args, "--root", runtimeState(host), ...own];
}
