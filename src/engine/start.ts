import { Failure, log, toFailure } from "../base/mod.ts";
import type { RunningProcess } from "../runtime/mod.ts";
import { asRootOf } from "../sys/mod.ts";
import { makeBundle } from "./bundle.ts";
import type { Core, Live } from "./core.ts";
import { watchExit } from "./exit.ts";
import { openOutlet } from "./forwarding.ts";
import { watchHealth } from "./health.ts";
import { loggingOf } from "./logging.ts";
import { readyMounts, unmountVolumes } from "./mounts.ts";
import { removeInBackground } from "./remove.ts";
import { makeDirectory, markRoot } from "./rootfs.ts";
import { closePlace, openPlace } from "./sandbox.ts";
import { dropSubpaths } from "./subpaths.ts";
import { now } from "./times.ts";
import type { Container, MountPoint, StartFailure } from "./types.ts";
import { giveToRoot, openUsers } from "./users.ts";

/** As `Engine.start`. */
export async function start(core: Core, id: string): Promise<void> {
  await core.locks.run(id, () => startLocked(core, id, { isRestart: false }));
}

/** Starts a container; the caller holds its lock. */
export async function startLocked(
  core: Core,
  id: string,
  { isRestart }: { isRestart: boolean },
): Promise<void> {
  const container = core.records.get(id);
  refuseUnstartable(core, container);
  core.runtime.expect();
  core.restarts.get(id)?.();
  const startedMs = Date.now();
  // From here on a crash leaves a process, a network or mounts behind: the phase says so.
  const counts = isRestart ? {} : { restartCount: 0 };
  const inside = isRestart ? {} : { restartDelayMs: 0 };
  core.records.change(id, { ...counts, manuallyStopped: false }, { ...inside, phase: "starting" });
  let process: RunningProcess;
  try {
    process = await launch(core, container);
  } catch (error) {
    throw await undo(core, id, error);
  }
  core.attachers.begin(id, process);
  const live = enliven(core, id, { process, startedMs });
  core.events.volumes(container, "mount");
  core.events.container(core.records.get(id), "start");
  live.health = watchHealth(core, id, live);
}

/** Records that a container runs, and watches its process. */
function enliven(
  core: Core,
  id: string,
  { process, startedMs }: { process: RunningProcess; startedMs: number },
): Live {
  const live = watchExit(core, id, { process, startedMs });
  const container = core.records.get(id);
  core.records.change(
    id,
    {
      execIds: [],
      mounts: container.mounts.map((mount) => placed(core, mount)),
      state: startedState(container, process.pid),
    },
    { phase: "running" },
  );
  return live;
}

/** The state of a container whose process has just begun: nothing of the last run is left but its end. */
export function startedState({ config, state }: Container, pid: number) {
  const test = config.Healthcheck?.Test ?? [];
  const isChecked = test.length > 0 && test[0] !== "NONE";
  const health = { Status: "starting", FailingStreak: 0, Log: state.health?.Log ?? [] } as const;
  return {
    status: "running",
    pid,
    exitCode: 0,
    error: "",
    oomKilled: false,
    startedAt: now(),
    ...(isChecked ? { health } : {}),
  } as const;
}

/** A plugin may say where a volume is only when it mounts it. */
function placed(core: Core, mount: MountPoint): MountPoint {
  const { Type, Driver, Name = "" } = mount;
  if (Type !== "volume" || Driver === "local") return mount;
  return { ...mount, Source: core.volumes.get(Name).mountpoint };
}

function refuseUnstartable(core: Core, { id, state }: Container): void {
  if (core.removing.has(id)) {
    throw new Failure("conflict", "container is marked for removal and cannot be started");
  }
  if (state.status === "paused") {
    throw new Failure("conflict", "cannot start a paused container, try unpause instead");
  }
  if (core.live.has(id)) throw new Failure("not_modified", `container ${id} is already running`);
}

/** Mount and network side by side: neither needs the other. */
async function launch(core: Core, container: Container): Promise<RunningProcess> {
  const { id, config, hostConfig } = container;
  const { mounts: plans, owners } = core.records.inside(id);
  using users = await openUsers(core, container);
  const map = users && { uids: users.map.uids, gids: users.map.gids };
  if (map || owners) core.records.change(id, {}, { owners: map });
  const [root, place, mounts] = await together(
    core.snapshots.mount(id, users?.map),
    openPlace(core, container, users?.takeNetwork),
    readyMounts(core, plans, { id, owners: users?.map }),
  );
  asRootOf(map, () => {
    markRoot(root);
    if (config.WorkingDir) makeDirectory(root, config.WorkingDir);
  });
  const { hostsPath, hostnamePath, resolvConfPath } = place.files;
  giveToRoot([hostsPath, hostnamePath, resolvConfPath], map);
  const bundle = await makeBundle(core, container, { root, place, mounts, users });
  const [rows, columns] = hostConfig.ConsoleSize ?? [0, 0];
  const outlet = await openOutlet(core, container);
  try {
    const process = await core.runtime.start(bundle, {
      stdin: config.OpenStdin,
      logging: loggingOf(container),
      ...(config.Tty && rows > 0 && columns > 0 ? { size: { rows, columns } } : {}),
    });
    outlet?.begin(process);
    return process;
  } catch (error) {
    outlet?.stop();
    throw error;
  }
}

/** Like Promise.all, but a failure waits for the others: what they made can then be undone. */
async function together<A, B, C>(a: Promise<A>, b: Promise<B>, c: Promise<C>): Promise<[A, B, C]> {
  const all = [a, b, c] as const;
  await Promise.allSettled(all);
  return await Promise.all(all);
}

async function undo(core: Core, id: string, error: unknown): Promise<Failure> {
  const container = core.records.get(id);
  const failure = startFailure(container, error);
  const undone = await Promise.allSettled([
    core.runtime.remove(id),
    closePlace(core, container),
    core.snapshots.unmount(id),
  ]);
  dropSubpaths(core, id);
  await unmountVolumes(core, id, core.records.inside(id).mounts);
  for (const part of undone) {
    if (part.status === "rejected") {
      log("warn", "Cannot undo a failed start", { id, error: part.reason });
    }
  }
  const { status } = container.state;
  core.records.change(
    id,
    {
      state: {
        status: status === "created" ? "created" : "exited",
        pid: 0,
        exitCode: failure.exitCode ?? 128,
        error: failure.message,
        ...(status === "restarting" ? { finishedAt: now() } : {}),
      },
    },
    { phase: "idle" },
  );
  // Who waits for a next exit hears nothing of a start that failed, as with Docker; who waited for the
  // end of one that was to be restarted, does: there is no more to come.
  if (status === "restarting") {
    core.waiters.ended(id, { exitCode: failure.exitCode ?? 128, error: failure.message });
  }
  if (container.hostConfig.AutoRemove) removeInBackground(core, id);
  return failure;
}

/** Says in Docker's words what the runtime refused, with the exit code that `docker run` ends with. */
function startFailure({ path }: Container, error: unknown): StartFailure {
  const failure = toFailure(error);
  const known = (failure as StartFailure).exitCode;
  const exitCode = known ?? guessExitCode(failure.message, path);
  const words =
    exitCode === 127 && !/no such file or directory|not found/.test(failure.message)
      ? `: exec: "${path}": executable file not found in $PATH`
      : exitCode === 126 && !failure.message.includes("permission denied")
        ? `: exec: "${path}": permission denied`
        : "";
  const message = `${failure.message}${words}`;
  const { code, hint } = failure;
  const said = new Failure(code, message, { ...(hint ? { hint } : {}), cause: failure });
  return Object.assign(said, { exitCode });
}

function guessExitCode(message: string, path: string): 126 | 127 | 128 {
  if (/executable file .*not found/i.test(message)) return 127;
  // Other files that lack, such as devices, are not the program.
  if (/no such file or directory/i.test(message) && message.includes(path)) return 127;
  return /permission denied/i.test(message) ? 126 : 128;
}
