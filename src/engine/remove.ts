import { rm } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { Exit } from "../runtime/mod.ts";
import type { Core } from "./core.ts";
import { dropImageMounts, releaseVolumes } from "./mounts.ts";
import { closePlace } from "./sandbox.ts";
import { dropSubpaths } from "./subpaths.ts";
import type { Container } from "./types.ts";

const killTimeoutMs = 30_000;
/** How long the log of a removed container waits for a client that still reads it. */
const readersTimeoutMs = 60_000;
const SIGKILL = 9;

/** As `Engine.remove`. */
export async function remove(
  core: Core,
  id: string,
  { force, volumes }: { force: boolean; volumes: boolean },
): Promise<void> {
  const container = core.records.get(id);
  if (core.removing.has(id)) {
    throw new Failure("conflict", `removal of container ${id} is already in progress`);
  }
  if (!force) refuseActive(core, container);
  core.removing.add(id);
  try {
    core.restarts.get(id)?.();
    for (let isGone = false; !isGone; ) {
      const exit = await killForRemoval(core, container);
      isGone = await core.locks.run(id, async () => {
        // A start that had begun before us has come through: once more.
        if (core.live.has(id)) return false;
        if (core.records.find(id)) await removeEnded(core, id, { volumes, exit });
        return true;
      });
    }
  } finally {
    core.removing.delete(id);
  }
}

function refuseActive(core: Core, { id, name, state }: Container): void {
  const refuse = (why: string) =>
    new Failure("conflict", `cannot remove container "/${name}": ${why}`);
  const instead = "stop the container before removing or force remove";
  if (state.status === "paused") {
    throw refuse("container is paused and must be unpaused first");
  }
  if (state.status === "restarting") throw refuse(`container is restarting: ${instead}`);
  if (core.live.has(id)) throw refuse(`container is running: ${instead}`);
}

async function killForRemoval(core: Core, { id, name }: Container): Promise<Exit | undefined> {
  const live = core.live.get(id);
  if (!live) return undefined;
  const { status } = core.records.get(id).state;
  live.process.signal(SIGKILL);
  core.events.container(core.records.get(id), "kill", { signal: String(SIGKILL) });
  if (status === "paused") await core.runtime.resume(id);
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), killTimeoutMs);
  const exit = await Promise.race([live.recorded, late.promise]);
  clearTimeout(timer);
  if (exit) return exit;
  throw new Failure("timeout", `Could not kill running container "/${name}", cannot remove it`);
}

/**
 * Forgets a container that does not run: its name and its ports are free when this returns. What takes
 * time and is in nobody's way is taken away behind. The container's lock is held.
 */
export async function removeEnded(
  core: Core,
  id: string,
  { volumes, exit }: { volumes: boolean; exit: Exit | undefined },
): Promise<void> {
  const container = core.records.get(id);
  const { mounts } = core.records.inside(id);
  core.restarts.get(id)?.();
  await closePlace(core, container);
  dropSubpaths(core, id);
  await releaseVolumes(core, id, mounts, { anonymous: volumes });
  core.records.remove(id);
  core.attachers.drop(id);
  core.events.container(container, "destroy");
  core.waiters.removed(id, { exitCode: exit?.exitCode ?? container.state.exitCode });
  core.background.run(`removal of container ${id}`, async () => {
    await Promise.all([
      core.snapshots.remove(id),
      dropImageMounts(core, mounts),
      core.runtime.remove(id),
      dropLog(core, container),
    ]);
  });
}

/** A `--rm` container is gone before its client has read its last words. */
async function dropLog(core: Core, { id, logDirectory }: Container): Promise<void> {
  await core.attachers.left(id, readersTimeoutMs);
  core.forwardings.get(id)?.stop();
  await rm(logDirectory, { recursive: true, force: true });
}

/** For a `--rm` container that could not start. */
export function removeInBackground(core: Core, id: string): void {
  core.background.run(`removal of container ${id}`, async () => {
    if (core.records.find(id)) await remove(core, id, { force: true, volumes: true });
  });
}

/** The container in a form that says what became of it, for those who list what was removed. */
export function isRemovable(core: Core, { id, state }: Container): boolean {
  const isActive = core.live.has(id) || state.status === "restarting" || state.status === "paused";
  return !isActive && !core.removing.has(id);
}
