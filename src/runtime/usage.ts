import { type Cgroups, cgroupDirectory, readCgroup } from "../sys/mod.ts";
import type { Usage } from "./types.ts";

/** Reads a file of a group; undefined where the host has no such file. */
export type ReadFile = (controller: string, name: string) => string | undefined;

/** The kernel says "no limit" with a number of its own. */
const unlimited = 2 ** 63;
const tickNs = 10_000_000;

/** Counters of a group now. */
export function readUsage(cgroups: Cgroups, path: string): Usage {
  const read: ReadFile = (controller, name) => {
    return readCgroup(cgroupDirectory(cgroups, controller, path), name);
  };
  return cgroups.version === 2 ? usageOfV2(read) : usageOfV1(read);
}

/** https://docs.kernel.org/admin-guide/cgroup-v1/ */
export function usageOfV1(read: ReadFile): Usage {
  const times = pairs(read("cpuacct", "cpuacct.stat"));
  const throttled = pairs(read("cpu", "cpu.stat"));
  const perCpu = words(read("cpuacct", "cpuacct.usage_percpu"));
  const stats = pairs(read("memory", "memory.stat"));
  return {
    cpu: {
      totalNs: number(read("cpuacct", "cpuacct.usage")),
      userNs: (times["user"] ?? 0) * tickNs,
      systemNs: (times["system"] ?? 0) * tickNs,
      ...(perCpu.length > 0 ? { perCpuNs: perCpu.map(Number) } : {}),
      periods: throttled["nr_periods"] ?? 0,
      throttledPeriods: throttled["nr_throttled"] ?? 0,
      throttledNs: throttled["throttled_time"] ?? 0,
    },
    memory: {
      usage: number(read("memory", "memory.usage_in_bytes")),
      max: number(read("memory", "memory.max_usage_in_bytes")),
      limit: number(read("memory", "memory.limit_in_bytes"), unlimited),
      stats,
      oomKills: pairs(read("memory", "memory.oom_control"))["oom_kill"] ?? 0,
    },
    pids: pids(read),
    blockIo: blockIoOfV1(read),
  };
}

/** Bytes first, then the counts of operations. */
function blockIoOfV1(read: ReadFile): Usage["blockIo"] {
  const entries = (name: string) =>
    parseBlockIo(read("blkio", `${name}_recursive`) || read("blkio", name) || "");
  const counts = entries("blkio.throttle.io_serviced");
  return [
    ...entries("blkio.throttle.io_service_bytes"),
    ...counts.map((entry) => ({ ...entry, op: `ops:${entry.op}` })),
  ];
}

/** https://docs.kernel.org/admin-guide/cgroup-v2.html */
export function usageOfV2(read: ReadFile): Usage {
  const cpu = pairs(read("cpu", "cpu.stat"));
  const ns = (key: string) => (cpu[key] ?? 0) * 1000;
  const peak = read("memory", "memory.peak");
  return {
    cpu: {
      totalNs: ns("usage_usec"),
      userNs: ns("user_usec"),
      systemNs: ns("system_usec"),
      periods: cpu["nr_periods"] ?? 0,
      throttledPeriods: cpu["nr_throttled"] ?? 0,
      throttledNs: ns("throttled_usec"),
    },
    memory: {
      usage: number(read("memory", "memory.current")),
      ...(peak === undefined ? {} : { max: number(peak) }),
      limit: number(read("memory", "memory.max"), unlimited),
      stats: pairs(read("memory", "memory.stat")),
      oomKills: pairs(read("memory", "memory.events"))["oom_kill"] ?? 0,
    },
    pids: pids(read),
    blockIo: parseIoStat(read("io", "io.stat") ?? ""),
  };
}

function pids(read: ReadFile): Usage["pids"] {
  const limit = read("pids", "pids.max")?.trim();
  const hasLimit = limit !== undefined && limit !== "" && limit !== "max";
  return {
    current: number(read("pids", "pids.current")),
    ...(hasLimit ? { limit: Number(limit) } : {}),
  };
}

/** `8:0 Read 4096` */
function parseBlockIo(text: string): Usage["blockIo"] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line);
    if (!match) return [];
    const [, major, minor, op, value] = match;
    return [{ major: Number(major), minor: Number(minor), op: op!, value: Number(value) }];
  });
}

/** `8:0 rbytes=4096 wbytes=0 rios=1 …` */
function parseIoStat(text: string): Usage["blockIo"] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (!match) return [];
    const device = { major: Number(match[1]), minor: Number(match[2]) };
    const values = new Map(match[3]!.split(" ").map((pair) => pair.split("=") as [string, string]));
    const of = (op: string, key: string) => {
      return { ...device, op, value: Number(values.get(key) ?? 0) };
    };
    return [of("read", "rbytes"), of("write", "wbytes")];
  });
}

function pairs(text: string | undefined): Record<string, number> {
  const lines = (text ?? "").split("\n").map((line) => line.split(" "));
  const known = lines.filter(([key, value]) => key && value !== undefined && /^\d+$/.test(value));
  return Object.fromEntries(known.map(([key, value]) => [key!, Number(value)]));
}

function words(text: string | undefined): string[] {
  return (text ?? "").trim().split(/\s+/).filter(Boolean);
}

function number(text: string | undefined, otherwise = 0): number {
  const trimmed = text?.trim() ?? "";
  return /^\d+$/.test(trimmed) ? Number(trimmed) : otherwise;
}
