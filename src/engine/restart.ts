import { log } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { startLocked } from "./start.ts";

/** Starts a container again after its wait, unless that is called off. */
export function restartLater(core: Core, id: string): void {
  const { restartDelayMs } = core.records.inside(id);
  const timer = setTimeout(() => {
    core.background.run(`restart of container ${id}`, () => {
      return core.locks.run(id, () => restartNow(core, id));
    });
  }, restartDelayMs);
  core.restarts.set(id, () => {
    clearTimeout(timer);
    core.restarts.delete(id);
  });
}

async function restartNow(core: Core, id: string): Promise<void> {
  const isOff = !core.restarts.has(id) || core.background.isClosing || core.live.has(id);
  if (isOff || core.removing.has(id)) return;
  try {
    await startLocked(core, id, { isRestart: true });
  } catch (error) {
    // As Docker: a start that fails ends the policy's tries; the record holds the reason.
    log("warn", "Cannot restart a container", { id, error });
  }
}
