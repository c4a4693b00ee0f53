import { readdir, rm } from "node:fs/promises";
import { log } from "../base/mod.ts";
import type { RunningProcess } from "../runtime/mod.ts";
import type { Core } from "./core.ts";
import { watchExec } from "./exec.ts";
import { watchExit } from "./exit.ts";
import { openOutlet, resumeOutlets } from "./forwarding.ts";
import { watchHealth } from "./health.ts";
import { loggingOf } from "./logging.ts";
import { makeVolumes } from "./mount-plan.ts";
import { mountKeys, releaseVolumes } from "./mounts.ts";
import { republish } from "./publish.ts";
import { remove } from "./remove.ts";
import { shallRestart, shallResume } from "./restart-policy.ts";
import { leaveUnwanted } from "./sandbox.ts";
import { startedState } from "./start.ts";
import { startInOrder } from "./start-order.ts";
import { reconcileSubpaths } from "./subpaths.ts";
import { now } from "./times.ts";
import type { Container } from "./types.ts";

/** What Docker gives a container whose end nobody saw. */
const lostExitCode = 255;

/**
 * As `Engine.reconcile`. Brings the records, the runtime, the networks, the snapshots and the volumes
 * into agreement after whatever ended the last daemon. Says what it did.
 */
export async function reconcile(core: Core): Promise<string[]> {
  const done: string[] = [];
  await dropHalfMade(core, done);
  const { adopted, cutOff } = await adoptAll(core, done);
  await adoptExecs(core);
  const ids = new Set(core.records.all().map(({ container }) => container.id));
  const running = new Set(adopted.keys());
  const keys = core.records.all().flatMap(({ container, inside }) => {
    return [container.id, ...mountKeys(inside.mounts)];
  });
  done.push(...(await core.runtime.reconcile(running)));
  done.push(...(await core.networks.reconcile(running)));
  for (const id of running) {
    await finish("connection", id, () => leaveUnwanted(core, id));
    // Ports that were written down and, when the last daemon ended, not yet all published.
    await finish("publishing", id, () => republish(core, core.records.get(id)));
  }
  done.push(...(await core.snapshots.reconcile(new Set(keys))));
  done.push(...(await core.volumes.reconcile(ids, running)));
  await claimVolumes(core);
  reconcileSubpaths(core, running);
  await dropLogs(core, ids, done);
  for (const [id, process] of adopted) await takeOver(core, id, process);
  await resumeOutlets(core);
  resume(core, { done, cutOff });
  return done;
}

/** Ends what the last daemon had begun with a container's network, which runs without it as well. */
async function finish(what: string, id: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log("warn", `Cannot finish a container's ${what}`, { id, error });
  }
}

/** A crash in the middle of `create`: its name and its volumes are given back. */
async function dropHalfMade(core: Core, done: string[]): Promise<void> {
  for (const { container, inside } of core.records.all()) {
    if (inside.phase !== "creating") continue;
    await releaseVolumes(core, container.id, inside.mounts, { anonymous: true });
    core.records.remove(container.id);
    done.push(`removed container ${container.id}, whose creation was cut off`);
  }
}

/** A removal that was cut off may have let go of volumes of a container that is still there. */
async function claimVolumes(core: Core): Promise<void> {
  for (const { container, inside } of core.records.all()) {
    const lost = inside.mounts.filter((plan) => {
      return plan.kind === "volume" && !core.volumes.usersOf(plan.name).includes(container.id);
    });
    await makeVolumes(core, container.id, lost);
  }
}

type Adoption = { adopted: Map<string, RunningProcess>; cutOff: Set<string> };

/** Finds what still runs, and what was in the middle of its start. */
async function adoptAll(core: Core, done: string[]): Promise<Adoption> {
  const adopted = new Map<string, RunningProcess>();
  const cutOff = new Set<string>();
  for (const { container, inside } of core.records.all()) {
    if (inside.phase !== "running" && inside.phase !== "starting") continue;
    const { id } = container;
    const process = await adoptOne(core, container);
    if (process) {
      adopted.set(id, process);
      done.push(`adopted container ${id}`);
    } else if (inside.phase === "starting") {
      core.records.change(id, {}, { phase: "idle" });
      cutOff.add(id);
      done.push(`container ${id} was not started yet when the last daemon ended`);
    } else {
      const state = {
        status: "exited",
        pid: 0,
        exitCode: lostExitCode,
        finishedAt: now(),
      } as const;
      core.records.change(id, { state }, { phase: "idle" });
      done.push(`container ${id} is gone, and nobody saw how it ended`);
    }
  }
  return { adopted, cutOff };
}

async function adoptOne(core: Core, container: Container): Promise<RunningProcess | undefined> {
  try {
    return await core.runtime.adopt(container.id, { logging: loggingOf(container) });
  } catch (error) {
    log("error", "Cannot adopt a container", { id: container.id, error });
    return undefined;
  }
}

/** From here on a container of the last daemon is as good as one of our own. */
async function takeOver(core: Core, id: string, process: RunningProcess): Promise<void> {
  const container = core.records.get(id);
  const { state } = container;
  const isNew = core.records.inside(id).phase === "starting";
  const startedMs = isNew ? Date.now() : Date.parse(state.startedAt);
  const status = state.status === "paused" ? "paused" : "running";
  core.records.change(
    id,
    {
      execIds: core.execs.running(id),
      state: isNew ? startedState(container, process.pid) : { status, pid: process.pid },
    },
    { phase: "running" },
  );
  const outlet = await openOutlet(core, core.records.get(id), { isResumed: true });
  outlet?.begin(process);
  const live = watchExit(core, id, { process, startedMs });
  live.health = watchHealth(core, id, live);
}

async function adoptExecs(core: Core): Promise<void> {
  for (const { id, containerId, request } of core.execs.stored()) {
    const container = core.records.find(containerId);
    const process = container && (await adoptExec(core, containerId, id));
    if (!process) {
      core.execs.drop(id);
      continue;
    }
    const entry = core.execs.add(id, containerId, request);
    core.execs.started(entry);
    watchExec(core, { entry, process });
  }
}

async function adoptExec(core: Core, containerId: string, id: string) {
  try {
    return await core.runtime.adoptExec(containerId, id);
  } catch (error) {
    log("warn", "Cannot adopt an exec", { id, error });
    return undefined;
  }
}

async function dropLogs(core: Core, ids: ReadonlySet<string>, done: string[]): Promise<void> {
  for (const name of await readdir(`${core.directory}/logs`)) {
    if (ids.has(name)) continue;
    await rm(`${core.directory}/logs/${name}`, { recursive: true, force: true });
    done.push(`removed the log of container ${name}, which is gone`);
  }
}

/** Applies the restart policies, and `--rm`, to what does not run. */
function resume(
  core: Core,
  { done, cutOff }: { done: string[]; cutOff: ReadonlySet<string> },
): void {
  const waiting: Container[] = [];
  for (const { container, inside } of core.records.all()) {
    const { id, state, hostConfig } = container;
    if (core.live.has(id) || inside.phase !== "idle") continue;
    const hasRun = !state.startedAt.startsWith("0001");
    if (hostConfig.AutoRemove && (hasRun || cutOff.has(id))) {
      done.push(`removed container ${id}, which does not run any more`);
      core.background.run("auto-remove", () => remove(core, id, { force: true, volumes: true }));
      continue;
    }
    core.background.run("unmount", () => core.snapshots.unmount(id));
    const ended = { ...container, exitCode: state.exitCode, hasRun };
    const wasWaiting = state.status === "restarting";
    const shallStart = wasWaiting
      ? shallRestart(hostConfig.RestartPolicy, { ...ended, restartCount: 0 })
      : shallResume(hostConfig.RestartPolicy, ended);
    if (shallStart) {
      done.push(`started container ${id}, as its restart policy says`);
      waiting.push(container);
    } else if (wasWaiting) core.records.change(id, { state: { status: "exited" } });
  }
  startInOrder(core, waiting);
}
