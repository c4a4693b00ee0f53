/** Work through each engine's own client: Lading's through `lading`, a peer's through docker. */
import { readdirSync, readFileSync } from "node:fs";
import { docker, type Job, own, removeAll, requestRate, type Target, timed } from "./bench-jobs.ts";

const idleMs = 30_000;

function through(target: Target, args: readonly string[]): Promise<unknown> {
  return target.name === "lading" ? own(target, args) : docker(target, args);
}

/** CPU time of all threads of a process, nanoseconds. */
function usedNs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      return [
        Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]),
      ];
    } catch {
      return []; // it has ended
    }
  });
  return threads.reduce((sum, ns) => sum + ns, 0);
}

async function makeMany(target: Target, how: { label: string; count: number }): Promise<void> {
  const one = () => docker(target, ["create", "-l", `bench=${how.label}`, "bench", "true"]);
  for (let count = 0; count < how.count; count += 4)
    await Promise.all([one(), one(), one(), one()]);
}

async function startMany(target: Target, how: { label: string; count: number }): Promise<void> {
  for (let count = 0; count < how.count; count++) {
    await docker(target, ["run", "-d", "-l", `bench=${how.label}`, "bench", "sleep", "1000"]);
  }
}

export const clientJobs: readonly Job[] = [
  {
    name: "ps -a, 200 containers, own client",
    unit: "ms",
    rounds: 30,
    setUp: (target) => makeMany(target, { label: "ps", count: 200 }),
    run: (target) => timed(() => through(target, ["ps", "-a"])),
    tearDown: (target) => removeAll(target, "bench=ps"),
  },
  {
    name: "exec true, own client",
    unit: "ms",
    rounds: 30,
    setUp: async (target) => {
      const words = "run -d --name bench-exec -l bench=xo bench sleep 1000";
      await docker(target, words.split(" "));
    },
    run: (target) => timed(() => through(target, ["exec", "bench-exec", "true"])),
    tearDown: (target) => removeAll(target, "bench=xo"),
  },
  {
    name: "GET /containers/json, 50 containers",
    unit: "a second",
    rounds: 3,
    setUp: (target) => makeMany(target, { label: "g50", count: 50 }),
    run: (target) => requestRate(target, "/v1.41/containers/json?all=1"),
    tearDown: (target) => removeAll(target, "bench=g50"),
  },
  {
    name: "idle CPU, 20 containers, 30 s",
    unit: "%",
    rounds: 1,
    setUp: async (target) => {
      await startMany(target, { label: "idle", count: 20 });
      await Bun.sleep(idleMs); // what starts leave behind is collected
    },
    run: async ({ pid }) => {
      if (!pid) return Number.NaN;
      const beganNs = usedNs(pid);
      await Bun.sleep(idleMs);
      return Math.max(0, usedNs(pid) - beganNs) / idleMs / 10_000;
    },
    tearDown: (target) => removeAll(target, "bench=idle"),
  },
];
