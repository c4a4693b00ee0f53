import { existsSync } from "node:fs";
import type { Resources } from "../runtime/mod.ts";
import { cgroupDirectory, findCgroups, readCgroup } from "../sys/mod.ts";
import { parseDeviceRule, throttles } from "./devices.ts";
import type { ResourceRequest } from "./types.ts";

const periodDefaultUs = 100_000;
/** Docker's warning where they are asked for all the same. */
export const noWeights =
  "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
let weighs: boolean | undefined;

/** Whether the host's kernel can share block I/O by weight. */
export function canWeighBlockIO(): boolean {
  const groups = weighs === undefined ? findCgroups() : undefined;
  const directory = groups && cgroupDirectory(groups, "blkio", "");
  weighs ??=
    groups?.version === 2
      ? (readCgroup(directory, "cgroup.controllers") ?? "").split(/\s+/).includes("io")
      : existsSync(`${directory}/blkio.weight`);
  return weighs;
}

/** Docker's limits as the OCI runtime specification has them; what is 0 or null is not limited. */
export async function resources(asked: ResourceRequest): Promise<Resources> {
  const memory = memoryOf(asked);
  const cpu = cpuOf(asked);
  const blockIO = await throttles(asked);
  const limit = asked.PidsLimit ?? 0;
  const rules = (asked.DeviceCgroupRules ?? []).map(parseDeviceRule);
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(limit !== 0 ? { pids: { limit: limit < 0 ? -1 : limit } } : {}),
    ...(blockIO ? { blockIO } : {}),
    ...(rules.length > 0 ? { devices: rules } : {}),
  };
}

function memoryOf(asked: ResourceRequest): NonNullable<Resources["memory"]> {
  const { Memory: limit, MemoryReservation: reservation, MemorySwappiness: swappiness } = asked;
  // Without a word on swap, as much of it as of memory.
  const swap = asked.MemorySwap !== 0 ? asked.MemorySwap : limit > 0 ? limit * 2 : 0;
  return {
    ...(limit > 0 ? { limit } : {}),
    ...(reservation > 0 ? { reservation } : {}),
    ...(swap !== 0 ? { swap } : {}),
    ...(swappiness !== null && swappiness >= 0 ? { swappiness } : {}),
    ...(asked.OomKillDisable ? { disableOOMKiller: true } : {}),
  };
}

function cpuOf(asked: ResourceRequest): NonNullable<Resources["cpu"]> {
  const isNano = asked.NanoCpus > 0;
  const period = isNano ? periodDefaultUs : asked.CpuPeriod;
  const quota = isNano ? Math.round((asked.NanoCpus * periodDefaultUs) / 1e9) : asked.CpuQuota;
  return {
    ...(asked.CpuShares > 0 ? { shares: asked.CpuShares } : {}),
    ...(period > 0 ? { period } : {}),
    ...(quota !== 0 ? { quota } : {}),
    ...(asked.CpuRealtimePeriod > 0 ? { realtimePeriod: asked.CpuRealtimePeriod } : {}),
    ...(asked.CpuRealtimeRuntime > 0 ? { realtimeRuntime: asked.CpuRealtimeRuntime } : {}),
    ...(asked.CpusetCpus !== "" ? { cpus: asked.CpusetCpus } : {}),
    ...(asked.CpusetMems !== "" ? { mems: asked.CpusetMems } : {}),
  };
}
