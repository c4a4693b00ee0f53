/** What `stats` makes of the engine's counters. */
import type { BlkioEntry, StatsAnswer } from "../api/schema.ts";
import { binarySize, humanSize, shortId } from "./human.ts";
import { defineListing } from "./listing.ts";

export interface Reading {
  readonly asked: string;
  readonly id: string;
  readonly name: string;
  /** Of one processor, in percent; undefined before the first answer. */
  readonly cpu: number | undefined;
  readonly memory: number;
  readonly memoryMax: number;
  readonly received: number;
  readonly sent: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly processes: number;
}

/** One answer as rates and sums; without one, all unknown. */
export function measure(asked: string, stats: StatsAnswer | undefined): Reading {
  if (!stats) {
    const nothing = {
      memory: 0,
      memoryMax: 0,
      received: 0,
      sent: 0,
      readBytes: 0,
      writtenBytes: 0,
    };
    return { asked, id: asked, name: "--", cpu: undefined, processes: 0, ...nothing };
  }
  const networks = Object.values(stats.networks ?? {});
  const blocks = stats.blkio_stats?.["io_service_bytes_recursive"] ?? [];
  const bytes = (letter: string) =>
    (blocks as readonly BlkioEntry[])
      .filter(({ op }) => op.toLowerCase().startsWith(letter))
      .reduce((sum, { value }) => sum + value, 0);
  return {
    asked,
    id: stats.id ?? asked,
    name: (stats.name ?? "").replace(/^\//, ""),
    cpu: cpuPercent(stats),
    memory: usedMemory(stats),
    memoryMax: stats.memory_stats.limit ?? 0,
    received: networks.reduce((sum, each) => sum + (each["rx_bytes"] ?? 0), 0),
    sent: networks.reduce((sum, each) => sum + (each["tx_bytes"] ?? 0), 0),
    readBytes: bytes("r"),
    writtenBytes: bytes("w"),
    processes: stats.pids_stats.current ?? 0,
  };
}

function cpuPercent({ cpu_stats: now, precpu_stats: before }: StatsAnswer): number {
  const used = now.cpu_usage.total_usage - before.cpu_usage.total_usage;
  const passed = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const processors = now.online_cpus || now.cpu_usage.percpu_usage?.length || 1;
  return used > 0 && passed > 0 ? (used / passed) * processors * 100 : 0;
}

/** Without the page cache that the kernel could drop: cgroup v1 and v2 name it differently. */
function usedMemory({ memory_stats: { usage = 0, stats = {} } }: StatsAnswer): number {
  const cache = stats["total_inactive_file"] ?? stats["inactive_file"] ?? 0;
  return cache < usage ? usage - cache : usage;
}

export function statsListing(isWhole: boolean) {
  const known = <T>({ cpu }: Reading, text: T): T | "--" => (cpu === undefined ? "--" : text);
  const pair = (a: string, b: string) => `${a} / ${b}`;
  return defineListing<Reading>({
    typeName: "*container.statsContext",
    columns: ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
    fields: {
      Container: { heading: "CONTAINER", value: ({ asked }) => (isWhole ? asked : shortId(asked)) },
      ID: { heading: "CONTAINER ID", value: ({ id }) => (isWhole ? id : shortId(id)) },
      Name: { heading: "NAME", value: ({ name }) => name || "--" },
      CPUPerc: { heading: "CPU %", value: (row) => known(row, `${row.cpu?.toFixed(2)}%`) },
      MemUsage: {
        heading: "MEM USAGE / LIMIT",
        value: (row) =>
          row.cpu === undefined
            ? "-- / --"
            : pair(binarySize(row.memory), binarySize(row.memoryMax)),
      },
      MemPerc: {
        heading: "MEM %",
        value: (row) =>
          known(row, `${(row.memoryMax > 0 ? (row.memory / row.memoryMax) * 100 : 0).toFixed(2)}%`),
      },
      NetIO: {
        heading: "NET I/O",
        value: (row) => known(row, pair(humanSize(row.received), humanSize(row.sent))),
      },
      BlockIO: {
        heading: "BLOCK I/O",
        value: (row) => known(row, pair(humanSize(row.readBytes), humanSize(row.writtenBytes))),
      },
      PIDs: { heading: "PIDS", value: (row) => known(row, String(row.processes)) },
    },
  });
}
