import { defineCommand } from "./command.ts";
import { forEachName } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { type Limits, nanoCpus, parseRestart } from "./limit-flags.ts";
import { complain } from "./output.ts";
import { parsePorts } from "./port-flags.ts";

/** Ports to publish and to take back; without a host's port, all of a container's port go. */
function portChange(add: readonly string[], remove: readonly string[]) {
  const gone = Object.entries(parsePorts(remove, []).bindings).map(([port, bindings]) => {
    const named = bindings.filter(({ HostIp, HostPort }) => HostIp || HostPort);
    return [port, named] as const;
  });
  return {
    ...(add.length > 0 ? { PublishAdd: parsePorts(add, []).bindings } : {}),
    ...(gone.length > 0 ? { PublishRemove: Object.fromEntries(gone) } : {}),
  };
}

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: {
    "blkio-weight": { kind: "int", word: "uint16", about: "Weight of block I/O: 10 to 1000, or 0" },
    "cpu-period": { kind: "int", about: "Period of the CFS quota, microseconds" },
    "cpu-quota": { kind: "int", about: "CFS quota in a period, microseconds" },
    "cpu-rt-period": { kind: "int", about: "Period of the realtime limit, microseconds" },
    "cpu-rt-runtime": { kind: "int", about: "Realtime in a period, microseconds" },
    "cpu-shares": { kind: "int", short: "c", about: "Relative weight" },
    cpus: { kind: "decimal", about: "Number of processors, such as 1.5" },
    "cpuset-cpus": { kind: "string", about: "Processors to run on: 0-3, 0,1" },
    "cpuset-mems": { kind: "string", about: "Memory nodes to use: 0-3, 0,1" },
    memory: { kind: "bytes", short: "m", about: "Most memory" },
    "memory-reservation": { kind: "bytes", about: "Soft limit of memory" },
    "memory-swap": { kind: "endless", about: "Most memory and swap together; -1 for endless swap" },
    "pids-limit": { kind: "int", about: "Most processes; -1 for endless" },
    "publish-add": {
      kind: "list",
      about: "Publish a port at once: [IP:][PORT:]CONTAINER_PORT[/PROTOCOL]",
    },
    "publish-rm": {
      kind: "list",
      about: "Take a published port back, written in the same way",
    },
    restart: {
      kind: "string",
      about: "Restart it: no, always, unless-stopped, on-failure[:MAX], on-unhealthy[:MAX]",
    },
  },
  arguments: { min: 1 },
  async run({ flags, args, given, globals }) {
    if (given.size === 0) {
      complain("you must provide one or more flags when using this command");
      return 1;
    }
    const all: Limits = {
      BlkioWeight: flags["blkio-weight"],
      CpuPeriod: flags["cpu-period"],
      CpuQuota: flags["cpu-quota"],
      CpuRealtimePeriod: flags["cpu-rt-period"],
      CpuRealtimeRuntime: flags["cpu-rt-runtime"],
      CpuShares: flags["cpu-shares"],
      NanoCpus: nanoCpus(flags.cpus),
      CpusetCpus: flags["cpuset-cpus"],
      CpusetMems: flags["cpuset-mems"],
      Memory: flags.memory,
      MemoryReservation: flags["memory-reservation"],
      MemorySwap: flags["memory-swap"],
      ...(given.has("pids-limit") ? { PidsLimit: flags["pids-limit"] } : {}),
    };
    // The engine leaves alone what is zero.
    const body = {
      ...all,
      ...portChange(flags["publish-add"], flags["publish-rm"]),
      ...(given.has("restart") ? { RestartPolicy: parseRestart(flags.restart) } : {}),
    };
    const engine = engineOf(globals);
    return forEachName(args, async (name) => {
      const { Warnings } = await engine.containers.update(name, body);
      for (const warning of Warnings ?? []) complain(warning);
      return name;
    });
  },
});
