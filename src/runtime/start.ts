import { existsSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { type IdMap, ownerOutside } from "../sys/mod.ts";
import { bundleConfig, processConfig } from "./bundle.ts";
import { groupPath, removeGroup, withinReach } from "./groups.ts";
import { containerDirectory, execCommand, execDirectory, type Host, runCommand } from "./host.ts";
import { listHostDevices } from "./host-devices.ts";
import { launch } from "./launch.ts";
import { watchOom } from "./oom.ts";
import { isBuiltIn, type Program } from "./programs.ts";
import { remove } from "./remove.ts";
import { runtimeId } from "./runtime-id.ts";
import { filterAnnotation } from "./seccomp-filter.ts";
import type { BundleSpec, ProcessSpec, RunningProcess, StartOptions } from "./types.ts";
import { configFile, processFile } from "./watcher.ts";

const initPrograms = ["/usr/bin/catatonit", "/usr/bin/tini-static", "/usr/bin/docker-init"];
type Size = { readonly rows: number; readonly columns: number };

/** As `Runtime.start`. */
export async function start(
  host: Host,
  spec: BundleSpec,
  options: StartOptions,
): Promise<RunningProcess> {
  const directory = containerDirectory(host, spec.id);
  if (existsSync(directory)) {
    if (host.running.has(directory)) {
      throw new Failure("conflict", `Cannot start container "${spec.id}": it runs`);
    }
    await remove(host, spec.id);
  }
  const runtime = await host.programs.get(spec.runtime ?? "crun");
  if (spec.userNamespace && !runtime.isCrun) {
    const why = "it takes crun to run in a user namespace that is there already";
    throw new Failure("unsupported", `Cannot start container "${spec.id}": ${why}`, {
      hint: "Give it the host's users (--userns=host), or --runtime crun",
    });
  }
  // crun goes elsewhere to make device nodes for a user namespace; a spare one's paths are relative.
  const losesPlace = spec.userNamespace !== undefined && spec.devices.length > 0;
  const path = groupPath(host.cgroups, spec.cgroupParent, spec.id);
  const resources = withinReach(spec.resources, host.cgroups);
  const reached = { ...spec, resources };
  const config = await configText(host, reached, { path, runtime, size: options.size });
  const isLimited = (resources.memory?.limit ?? 0) > 0;
  const oom = isLimited ? watchOom(host.pump, host.cgroups, { path }) : undefined;
  const launching = launch(host, {
    directory,
    config: [configFile, config],
    runtime,
    command: (more) => runCommand(host, runtime, { id: spec.id, more }),
    // Hooks are told the runtime's ID of the container: it shall be the container's own.
    takesSpare: isBuiltIn(runtime) && Object.keys(spec.hooks ?? {}).length === 0 && !losesPlace,
    program: spec.process.args[0] ?? "",
    action: "run",
    terminal: spec.process.terminal,
    size: options.size,
    stdin: options.stdin,
    logging: options.logging,
    oom,
    ...rootOf(spec.userNamespace?.map, spec.process),
    sharedGroup: spec.namespaces.pid === "private" ? undefined : path,
    isTransient: false,
  });
  return await launching.catch(async (error) => {
    // The OCI runtime removes what it made, but not when it is out of descriptors.
    await removeGroup(host.cgroups, path);
    throw explained(error, spec.process);
  });
}

/** crun has the container's limits already while it makes the container. */
const descriptorsMin = 64;

function explained(error: unknown, { rlimits }: ProcessSpec): unknown {
  const nofile = rlimits.find(({ type }) => type === "RLIMIT_NOFILE");
  if (!(error instanceof Failure) || !nofile || nofile.soft >= descriptorsMin) return error;
  const hint = `The limit nofile=${nofile.soft} holds for the OCI runtime too: give at least ${descriptorsMin}`;
  return Object.assign(error, { hint });
}

/**
 * Stands for the profile where its compiled form is there: crun takes that, and would read the 8 KB for
 * nothing, at each start and each exec. One that did not know of it would let nothing run.
 */
const nothingAllowed = { defaultAction: "SCMP_ACT_KILL_PROCESS", architectures: [], syscalls: [] };

async function configText(
  host: Host,
  spec: BundleSpec,
  { path, runtime, size }: { path: string; runtime: Program; size: Size | undefined },
): Promise<string> {
  const filter = await host.filters.get(spec.seccomp, spec.process.capabilities);
  const hostDevices = spec.privileged ? await listHostDevices() : [];
  const initPath = spec.init ? initPrograms.find((program) => existsSync(program)) : undefined;
  if (spec.init && !initPath) {
    throw new Failure("unavailable", "Cannot run an init process: no init program is installed", {
      hint: "Install catatonit",
    });
  }
  const program = filter?.program;
  const withFilter = program
    ? { ...spec, annotations: { ...spec.annotations, [filterAnnotation]: program } }
    : spec;
  const seccomp = program && isBuiltIn(runtime) ? nothingAllowed : filter?.profile;
  const parts = { seccomp, cgroupsPath: path, initPath, hostDevices };
  const config = bundleConfig(withFilter, parts) as { process: object };
  return JSON.stringify({ ...config, process: { ...config.process, ...consoleSize(size) } });
}

/** As `Runtime.exec`. */
export async function exec(
  host: Host,
  id: string,
  options: {
    execId: string;
    process: ProcessSpec;
    stdin: boolean;
    size?: Size;
    map?: IdMap | undefined;
  },
): Promise<RunningProcess> {
  const { execId, process } = options;
  const directory = execDirectory(host, id, execId);
  const config = { ...processConfig(process), ...consoleSize(options.size) };
  const runtime = await host.programs.of(containerDirectory(host, id));
  const name = runtimeId(host, id);
  return await launch(host, {
    directory,
    config: [processFile, JSON.stringify(config)],
    runtime,
    command: (more) => execCommand(host, runtime, { name, more }),
    program: process.args[0] ?? "",
    action: "exec",
    terminal: process.terminal,
    size: options.size,
    stdin: options.stdin,
    logging: { kind: "none" },
    oom: undefined,
    ...rootOf(options.map, process),
    isTransient: true,
  });
}

/** What only the host's root can do for a process in a user namespace. */
function rootOf(map: IdMap | undefined, { oomScoreAdj }: ProcessSpec) {
  if (!map) return {};
  return { owner: ownerOutside(map, { uid: 0, gid: 0 }), oomScoreAdj };
}

function consoleSize(size: Size | undefined): object {
  return size ? { consoleSize: { height: size.rows, width: size.columns } } : {};
}
