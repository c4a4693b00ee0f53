/** `GET /containers/{id}/stats`: counters as the wire has them, once or every second. */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../base/mod.ts";
import type { Container, Stats } from "../engine/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { hostFacts } from "./info.ts";
import { flag } from "./query.ts";
import type { BlkioEntry, CpuStats, StatsAnswer } from "./schema.ts";
import { isUp } from "./wire-container.ts";

const never = "0001-01-01T00:00:00Z";
const intervalMs = 1_000;

const noCpu: CpuStats = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

const noBlkio = {
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
};

/** One answer; `before` is the sample that the CPU's use is reckoned from. */
export function statsAnswer(
  { id, name }: Pick<Container, "id" | "name">,
  now: Stats | undefined,
  before: Stats | undefined,
): StatsAnswer {
  return {
    name: `/${name}`,
    id,
    read: timeOf(now),
    preread: timeOf(before),
    num_procs: 0,
    pids_stats: now ? pidsStats(now) : {},
    blkio_stats: now ? blkioStats(now.usage.blockIo) : noBlkio,
    storage_stats: {},
    cpu_stats: now ? cpuStats(now) : noCpu,
    precpu_stats: before ? cpuStats(before) : noCpu,
    memory_stats: now ? memoryStats(now) : {},
    ...(now && Object.keys(now.networks).length > 0 ? { networks: now.networks } : {}),
  };
}

const timeOf = (stats: Stats | undefined) =>
  stats ? new Date(stats.readMs).toISOString().replace("Z", "000000Z") : never;

function pidsStats({ usage }: Stats) {
  const { current, limit } = usage.pids;
  return { current, ...(limit === undefined ? {} : { limit }) };
}

function cpuStats({ usage: { cpu }, systemCpuNs, onlineCpus }: Stats): CpuStats {
  return {
    cpu_usage: {
      total_usage: cpu.totalNs,
      ...(cpu.perCpuNs ? { percpu_usage: cpu.perCpuNs } : {}),
      usage_in_kernelmode: cpu.systemNs,
      usage_in_usermode: cpu.userNs,
    },
    system_cpu_usage: systemCpuNs,
    online_cpus: onlineCpus,
    throttling_data: {
      periods: cpu.periods,
      throttled_periods: cpu.throttledPeriods,
      throttled_time: cpu.throttledNs,
    },
  };
}

function memoryStats({ usage: { memory } }: Stats): StatsAnswer["memory_stats"] {
  const { usage, max, limit, stats } = memory;
  // Without a limit the host's memory is it, as Docker has it; percentages are reckoned from it.
  const bytesMax = Math.min(limit, hostFacts().memoryBytes);
  // cgroup v1 alone keeps the greatest use and counts failures.
  return {
    usage,
    ...(max === undefined ? {} : { max_usage: max, failcnt: 0 }),
    stats,
    limit: bytesMax,
  };
}

/** Entries whose `op` starts with "ops:" count operations; the others bytes. */
function blkioStats(entries: readonly BlkioEntry[]): StatsAnswer["blkio_stats"] {
  const isCount = ({ op }: BlkioEntry) => op.startsWith("ops:");
  const counts = entries
    .filter(isCount)
    .map((entry) => ({ ...entry, op: entry.op.slice("ops:".length) }));
  return {
    ...noBlkio,
    io_service_bytes_recursive: entries.filter((entry) => !isCount(entry)),
    io_serviced_recursive: counts.length > 0 ? counts : null,
  };
}

export async function stats(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { query, signal } = exchange;
  const { id } = engine.resolve(name);
  const sample = async (): Promise<Stats | undefined> =>
    isUp(engine.resolve(id)) ? engine.stats(id) : undefined;
  const answer = (now: Stats | undefined, before: Stats | undefined) =>
    statsAnswer(engine.resolve(id), now, before);
  let before: Stats | undefined;
  if (!flag(query, "stream", true)) {
    if (!flag(query, "one-shot")) {
      before = await sample();
      if (before) await sleep(intervalMs, undefined, { signal });
    }
    exchange.json(200, answer(await sample(), before));
    return;
  }
  if (flag(query, "one-shot")) {
    throw new Failure("invalid", "cannot have stream=true and one-shot=true");
  }
  const output = exchange.stream(200, "application/json");
  while (!signal.aborted && engine.list().some((each) => each.id === id)) {
    const now = await sample();
    await output.line(answer(now, before));
    before = now;
    await pause(signal);
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  try {
    await sleep(intervalMs, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
