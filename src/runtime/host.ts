import type { Cgroups, GroupMoves } from "../sys/mod.ts";
import type { BegunExec } from "./begin-exec.ts";
import type { Filters } from "./filters.ts";
import type { WatchedProcess } from "./process.ts";
import type { Program, Programs } from "./programs.ts";
import type { Pump } from "./pump.ts";
import type { Spare } from "./spare.ts";
import type { SpareRuns } from "./spare-run.ts";
import { processFile } from "./watcher.ts";

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
  readonly spareRuns: SpareRuns;
  /** How long an OCI runtime that an earlier daemon started may take to say that its process runs. */
  readonly adoptTimeoutMs: number;
  /** Execs that were begun ahead, by the directory they have. */
  readonly begun: Map<string, BegunExec>;
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
export function runtimeState(host: Pick<Host, "directory">): string {
  return `${host.directory}/state`;
}

/** The front of every command line of an OCI runtime. */
export function runtimeCommand(
  host: Pick<Host, "directory" | "cgroups">,
  { argv, isCrun }: Program,
): [string, ...string[]] {
  const manager = host.cgroups.roots.size === 0 ? "disabled" : "cgroupfs";
  const [program = "", ...args] = argv;
  const own = isCrun ? [`--cgroup-manager=${manager}`] : [];
  return [program, ...args, "--root", runtimeState(host), ...own];
}

/** The command line that runs a container from the directory that it is in. */
export function runCommand(
  host: Pick<Host, "directory" | "cgroups">,
  program: Program,
  { id, more }: { id: string; more: readonly string[] },
): string[] {
  const front = runtimeCommand(host, program);
  return [...front, "--log", "log", "run", "--bundle", ".", ...more, id];
}

/** The command line that adds a process to the container that the runtime knows by `name`. */
export function execCommand(
  host: Pick<Host, "directory" | "cgroups">,
  program: Program,
  { name, more }: { name: string; more: readonly string[] },
): string[] {
  const front = [...runtimeCommand(host, program), "--log", "log", "exec"];
  return [...front, "--process", processFile, ...more, name];
}
