import { Failure, log } from "../base/mod.ts";
import type { Core, Live } from "./core.ts";
import {
  end,
  killTimeoutMs,
  SIGKILL,
  type StopOptions,
  send,
  settled,
  stopSignalOf,
} from "./ending.ts";
import { parseSignal } from "./signals.ts";
import { startLocked } from "./start.ts";
import { now } from "./times.ts";

/** As `Engine.stop`. */
export async function stop(
  core: Core,
  id: string,
  options: StopOptions & { readonly keepsPolicy?: boolean },
): Promise<void> {
  const container = core.records.get(id);
  if (await callOffRestart(core, id)) {
    core.events.container(container, "stop");
    return;
  }
  const live = core.live.get(id);
  if (!live) throw new Failure("not_modified", `container ${id} is already stopped`);
  if (options.keepsPolicy) live.isHeld = true;
  else core.records.change(id, { manuallyStopped: true });
  await end(core, { container, live }, options);
  core.events.container(container, "stop");
}

/** As `Engine.restart`. */
export async function restart(core: Core, id: string, options: StopOptions): Promise<void> {
  const container = core.records.get(id);
  await callOffRestart(core, id);
  const live = core.live.get(id);
  if (live) {
    live.isRestarting = true;
    await end(core, { container, live }, options);
    core.events.container(container, "stop");
  }
  await core.locks.run(id, () => startLocked(core, id, { isRestart: false }));
  core.events.container(core.records.get(id), "restart");
}

/** As `Engine.kill`. */
export async function kill(core: Core, id: string, text: string): Promise<void> {
  const signal = parseSignal(text === "" ? "KILL" : text);
  const container = core.records.get(id);
  if (await callOffRestart(core, id)) return;
  const live = requireLive(core, id);
  const isEnd = signal === SIGKILL || signal === stopSignalOf(container);
  if (isEnd) core.records.change(id, { manuallyStopped: true });
  await send(core, { container, live }, signal);
  if (signal === SIGKILL) await settled(live, killTimeoutMs);
}

/** As `Engine.pause` and `unpause`. */
export async function pause(core: Core, id: string): Promise<void> {
  await core.locks.run(id, async () => {
    requireLive(core, id);
    const { state } = core.records.get(id);
    if (state.status === "paused") {
      throw new Failure("conflict", `Container ${id} is already paused`);
    }
    await core.runtime.pause(id);
    core.events.container(core.records.change(id, { state: { status: "paused" } }), "pause");
  });
}

export async function unpause(core: Core, id: string): Promise<void> {
  await core.locks.run(id, async () => {
    const { state } = core.records.get(id);
    if (state.status !== "paused") throw new Failure("conflict", `Container ${id} is not paused`);
    await core.runtime.resume(id);
    core.events.container(core.records.change(id, { state: { status: "running" } }), "unpause");
  });
}

export function requireLive(core: Core, id: string): Live {
  const live = core.live.get(id);
  if (live) return live;
  throw new Failure("conflict", `container ${id} is not running`);
}

/** A container that waits to be started again stays down. Tells whether there was one. */
async function callOffRestart(core: Core, id: string): Promise<boolean> {
  if (!core.restarts.has(id)) return false;
  return await core.locks.run(id, () => {
    const callOff = core.restarts.get(id);
    if (!callOff) return false;
    callOff();
    log("debug", "Called off a restart", { id });
    core.records.change(id, {
      manuallyStopped: true,
      state: { status: "exited", finishedAt: now() },
    });
    core.background.run("unmount", () => core.snapshots.unmount(id));
    return true;
  });
}
