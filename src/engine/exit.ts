import { log } from "../base/mod.ts";
import type { Exit, RunningProcess } from "../runtime/mod.ts";
import type { Core, Live } from "./core.ts";
import { unmountVolumes } from "./mounts.ts";
import { removeEnded } from "./remove.ts";
import { restartLater } from "./restart.ts";
import { nextDelayMs, shallRestart } from "./restart-policy.ts";
import { closePlace } from "./sandbox.ts";
import { dropSubpaths } from "./subpaths.ts";
import { formatMs } from "./times.ts";
import type { Container } from "./types.ts";

/** How long the end of a container is kept from those who wait, for a reader who is slow. */
const readersTimeoutMs = 200;

/** Keeps a running container in the map of the living until its process has ended. */
export function watchExit(
  core: Core,
  id: string,
  { process, startedMs }: { process: RunningProcess; startedMs: number },
): Live {
  const recorded = Promise.withResolvers<Exit>();
  const live: Live = {
    process,
    startedAtMs: startedMs,
    recorded: recorded.promise,
    isRestarting: false,
    isSick: false,
    isHeld: false,
    health: undefined,
  };
  core.live.set(id, live);
  core.background.watch(`the end of container ${id}`, async () => {
    const exit = await process.exited;
    if (core.background.isClosing) return; // the next daemon records it
    await core.locks.run(id, () => ended(core, id, { live, exit, told: recorded.resolve }));
  });
  return live;
}

type Ending = { live: Live; exit: Exit; told: (exit: Exit) => void };

/** Records the end, tells those who wait, and only then cleans up. The container's lock is held. */
async function ended(core: Core, id: string, { live, exit, told }: Ending): Promise<void> {
  live.health?.stop();
  core.live.delete(id);
  const container = core.records.get(id);
  const isRemoved = core.removing.has(id);
  const isAutoRemoved = container.hostConfig.AutoRemove && !live.isRestarting && !isRemoved;
  const ranMs = exit.atMs - live.startedAtMs;
  const isBack =
    !isRemoved &&
    !live.isRestarting &&
    !live.isHeld &&
    shallRestart(container.hostConfig.RestartPolicy, {
      ...container,
      exitCode: exit.exitCode,
      isSick: live.isSick,
    });
  if (isAutoRemoved) core.records.changeInMemory(id, { state: { status: "removing", pid: 0 } });
  else record(core, container, { exit, ranMs, isBack });
  tell(core, container, { exit, ranMs });
  // Clients that attached, then wait, take all output for there when they are told.
  await core.attachers.left(id, readersTimeoutMs);
  core.waiters.ended(id, { exitCode: exit.exitCode });
  told(exit);
  if (isAutoRemoved) return await removeEnded(core, id, { volumes: true, exit });
  if (isRemoved) return; // whoever removes it does the rest
  await cleanUp(core, container, { keepsMount: isBack || live.isRestarting });
  if (isBack) restartLater(core, id);
}

function record(
  core: Core,
  { id, restartCount, state: { health } }: Container,
  { exit, ranMs, isBack }: { exit: Exit; ranMs: number; isBack: boolean },
): void {
  const { restartDelayMs } = core.records.inside(id);
  core.records.change(
    id,
    {
      execIds: [],
      ...(isBack ? { restartCount: restartCount + 1 } : {}),
      state: {
        status: isBack ? "restarting" : "exited",
        pid: 0,
        exitCode: exit.exitCode,
        oomKilled: exit.oomKilled,
        finishedAt: formatMs(exit.atMs),
        // Nobody is well who is not: Docker's word for the time until the next start.
        ...(health ? { health: { ...health, Status: "unhealthy" as const } } : {}),
      },
    },
    { phase: "idle", ...(isBack ? { restartDelayMs: nextDelayMs(restartDelayMs, ranMs) } : {}) },
  );
}

function tell(core: Core, container: Container, { exit, ranMs }: { exit: Exit; ranMs: number }) {
  if (exit.oomKilled) core.events.container(container, "oom");
  core.events.container(container, "die", {
    exitCode: String(exit.exitCode),
    execDuration: String(Math.max(0, Math.floor(ranMs / 1000))),
  });
  core.events.volumes(container, "unmount");
}

/** What a container that has ended need not keep: network, mount, the runtime's directory. */
export async function cleanUp(
  core: Core,
  container: Container,
  { keepsMount }: { keepsMount: boolean },
): Promise<void> {
  const { id } = container;
  // The unmount may sync for long; the store lets a mount of the same snapshot wait for it.
  if (!keepsMount) core.background.run("unmount", () => core.snapshots.unmount(id));
  dropSubpaths(core, id);
  const parts = await Promise.allSettled([
    closePlace(core, container),
    core.runtime.remove(id),
    unmountVolumes(core, id, core.records.inside(id).mounts),
  ]);
  for (const part of parts) {
    if (part.status === "rejected") {
      log("warn", "Cannot clean up after a container", { id, error: part.reason });
    }
  }
}
