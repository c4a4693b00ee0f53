import { chmod, mkdir } from "node:fs/promises";
import { Failure, log } from "../base/mod.ts";
import {
  cgroupDirectory,
  delegatedCgroups,
  findCgroups,
  GroupMoves,
  isNamespaced,
  noCgroups,
  runAny,
  writeCgroup,
} from "../sys/mod.ts";
import { adopt, adoptExec } from "./adopt.ts";
import { beginExec, dropExec } from "./begin-exec.ts";
import { processesBeside } from "./beside.ts";
import { debianProfile, Filters } from "./filters.ts";
import { listProcesses, setFrozen, withinReach } from "./groups.ts";
import { containerDirectory, type Host, runCommand, runtimeCommand } from "./host.ts";
import { readLog } from "./log-read.ts";
import { isBuiltIn, type Program, Programs } from "./programs.ts";
import { Pump } from "./pump.ts";
import { reconcile } from "./reconcile.ts";
import { groupOf, remove } from "./remove.ts";
import { runtimeId } from "./runtime-id.ts";
import { Spare } from "./spare.ts";
import { SpareRuns } from "./spare-run.ts";
import { exec, start } from "./start.ts";
import type { Resources, Runtime } from "./types.ts";
import { readUsage } from "./usage.ts";
import { pipeName } from "./watcher.ts";

const updateTimeoutMs = 10_000;
const adoptTimeoutMs = 30_000;

/** Where the runtime keeps its state, and what it runs containers with. */
export interface RuntimeOptions {
  /** Below the exec root. */
  readonly directory: string;
  /** The name of the OCI runtime for containers that ask for none; "crun" by default. */
  readonly program?: string;
  /** OCI runtimes beside crun by name, each with a path and the arguments that come first. */
  readonly programs?: Readonly<Record<string, readonly string[]>>;
  /** The default seccomp profile, in Docker's format. */
  readonly seccompProfile?: string;
  /** How long `adopt` waits for an OCI runtime that is still at work. */
  readonly adoptTimeoutMs?: number;
}

/**
 * Opens the runtime. Containers of an earlier daemon run on; `adopt` finds them.
 * @throws "unavailable" — the OCI runtime is not installed | "unsupported" — no cgroups
 */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { directory, program = "crun", seccompProfile = debianProfile } = options;
  const programs = new Programs(options.programs ?? {});
  const usual = await programs.get(program);
  const cgroups = isNamespaced ? (delegatedCgroups() ?? noCgroups) : findCgroups();
  if (!cgroups) {
    throw new Failure("unsupported", "Cannot run containers: no control groups are mounted");
  }
  await mkdir(`${directory}/run`, { recursive: true });
  await chmod(directory, 0o700);
  const pump = await Pump.open();
  const filters = new Filters(`${directory}/seccomp`, pump, seccompProfile);
  filters.warm();
  const spare = new Spare(directory);
  spare.removeOld();
  spare.prepare();
  const moves = new GroupMoves(cgroups);
  const host: Host = {
    directory,
    programs,
    pump,
    cgroups,
    moves,
    filters,
    spare,
    spareRuns: spareRuns(directory, cgroups, usual),
    adoptTimeoutMs: options.adoptTimeoutMs ?? adoptTimeoutMs,
    begun: new Map(),
    running: new Map(),
  };
  host.spareRuns.prepare();
  return runtimeOf(host, program);
}

/** Others than the built-in one have their ways, and do without. */
function spareRuns(directory: string, cgroups: Host["cgroups"], usual: Program): SpareRuns {
  const more = ["--pid-file", pipeName.events];
  const command = (id: string) => runCommand({ directory, cgroups }, usual, { id, more });
  return new SpareRuns(directory, isBuiltIn(usual) ? command : undefined);
}

function runtimeOf(host: Host, program: string): Runtime {
  const { cgroups } = host;
  const group = (id: string) => {
    const path = groupOf(host, id);
    if (path !== undefined) return path;
    throw new Failure("not_found", `Cannot find container "${id}": it does not run`);
  };
  return {
    controllers: cgroups.controllers,
    expect: () => host.moves.expect(),
    expectExec: (id, execId) => {
      beginExec(host, id, execId).catch((error: unknown) =>
        log("debug", "Cannot begin an exec ahead", { error }),
      );
    },
    start: (spec, startOptions) => start(host, { runtime: program, ...spec }, startOptions),
    adopt: (id, { logging }) => adopt(host, id, logging),
    exec: (id, execId, spec, execOptions) =>
      exec(host, id, { execId, process: spec, ...execOptions }),
    adoptExec: (id, execId) => adoptExec(host, id, execId),
    readLog: (directory, query) => readLog(directory, query),
    pause: (id) => setFrozen(cgroups, group(id), true),
    resume: (id) => setFrozen(cgroups, group(id), false),
    update: (id, resources) => update(host, { id, path: group(id) }, resources),
    pids: async (id) => {
      const path = group(id);
      if (cgroups.roots.size > 0) return listProcesses(cgroups, path);
      return processesBeside(host.running.get(containerDirectory(host, id))?.pid ?? 0);
    },
    usage: async (id) => readUsage(cgroups, group(id)),
    remove: (id) => remove(host, id),
    reconcile: (ids) => reconcile(host, ids),
    close: async () => {
      await Promise.all([...host.running.values()].map((one) => one.leave()));
      host.running.clear();
      for (const directory of [...host.begun.keys()]) dropExec(host, directory);
      host.spare.close();
      host.spareRuns.close();
      await host.pump.close();
      host.programs.close();
    },
  };
}

async function update(
  host: Host,
  { id, path }: { readonly id: string; readonly path: string },
  resources: Resources,
): Promise<void> {
  const { devices: _, pids, ...others } = withinReach(resources, host.cgroups);
  // "No limit" is a word here that the OCI runtime does not write on every kernel.
  const isUnlimited = pids !== undefined && pids.limit < 0;
  const limits = pids && !isUnlimited ? { ...others, pids } : others;
  const program = await host.programs.of(containerDirectory(host, id));
  const name = runtimeId(host, id);
  const argv = [...runtimeCommand(host, program), "update", "--resources", "-", name] as const;
  const { exitCode, stderr } = await runAny(argv, {
    input: JSON.stringify(limits),
    timeoutMs: updateTimeoutMs,
  });
  if (exitCode !== 0) {
    throw new Failure("invalid", `Cannot change the limits of container "${id}": ${stderr.trim()}`);
  }
  const directory = cgroupDirectory(host.cgroups, "pids", path);
  if (isUnlimited && directory) writeCgroup(directory, "pids.max", "max");
}
