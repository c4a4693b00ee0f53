import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type { Usage } from "../runtime/mod.ts";
import type { Core } from "./core.ts";
import type { Stats } from "./types.ts";

/** USER_HZ, which the kernel promises never to change for programs on these architectures. */
const ticksPerSecond = 100;

const nothing: Usage = {
  cpu: { totalNs: 0, userNs: 0, systemNs: 0, periods: 0, throttledPeriods: 0, throttledNs: 0 },
  memory: { usage: 0, limit: 0, stats: {}, oomKills: 0 },
  pids: { current: 0 },
  blockIo: [],
};

/** As `Engine.stats`; all zeros for a container that does not run. */
export async function stats(core: Core, id: string): Promise<Stats> {
  core.records.get(id);
  const onlineCpus = availableParallelism();
  const isLive = core.live.has(id);
  const [usage, networks, systemCpuNs] = await Promise.all([
    isLive ? core.runtime.usage(id) : nothing,
    isLive && core.networks.sandbox(id) ? core.networks.counters(id) : {},
    hostCpuNs(),
  ]);
  return { readMs: Date.now(), usage, systemCpuNs, onlineCpus, networks };
}

/** What all processors have done since boot. proc_stat(5) */
async function hostCpuNs(): Promise<number> {
  const text = await readFile("/proc/stat", "utf8");
  const fields = text.slice(0, text.indexOf("\n")).split(/\s+/).slice(1, 9).map(Number);
  const ticks = fields.reduce((sum, field) => sum + field, 0);
  return ticks * (1e9 / ticksPerSecond);
}
