/** The work that `bench.ts` measures, each through the official docker client, on any engine. */
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busyboxTar, command, dockerPath, lading } from "../test/engine.ts";

export interface Target {
  readonly name: string;
  /** `unix:///path`. */
  readonly host: string;
  /** Process id of the daemon, where it is known. */
  readonly pid: number | undefined;
}

export interface Job {
  readonly name: string;
  readonly unit: "ms" | "MB/s" | "a second" | "MB" | "%";
  /** How many times, per target; the median counts. */
  readonly rounds: number;
  readonly setUp?: (target: Target) => Promise<void>;
  readonly run: (target: Target, round: number) => Promise<number>;
  readonly tearDown?: (target: Target) => Promise<void>;
}

const scratch = mkdtempSync(join(tmpdir(), "lading-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
const bigMegabytes = 200;

export async function docker(target: Target, args: readonly string[], input?: Uint8Array) {
  const env = { DOCKER_HOST: target.host, DOCKER_BUILDKIT: "0", DOCKER_CONFIG: scratch };
  const ran = await command([dockerPath!, ...args], {
    env,
    timeoutMs: 300_000,
    ...(input ? { input } : {}),
  });
  if (ran.code !== 0) throw new Error(`${target.name}: docker ${args.join(" ")}: ${ran.stderr}`);
  return ran.stdout.trim();
}

/** Runs a shell line with DOCKER_HOST set and `docker` as the client; for pipes of large data. */
function shell(target: Target, line: string): void {
  const env = {
    ...process.env,
    DOCKER_HOST: target.host,
    DOCKER_CONFIG: scratch,
    docker: dockerPath,
  };
  const ran = spawnSync("sh", ["-c", line], { env, stdio: ["ignore", "ignore", "pipe"] });
  if (ran.status !== 0) throw new Error(`${target.name}: ${line}: ${ran.stderr}`);
}

export async function timed(work: () => Promise<unknown> | unknown): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

const rate = (megabytes: number, ms: number) => megabytes / (ms / 1000);
const each = (count: number, ms: number) => count / (ms / 1000);

/** Files of this size that do not compress, made once. */
function bigTar(): string {
  const path = join(scratch, "big.tar");
  const folder = join(scratch, "big");
  mkdirSync(folder, { recursive: true });
  for (let index = 0; index < 4; index++) {
    const bytes = Buffer.alloc((bigMegabytes / 4) << 20);
    for (let at = 0; at < bytes.length; at += 65536)
      crypto.getRandomValues(bytes.subarray(at, at + 65536));
    writeFileSync(join(folder, `file${index}`), bytes);
  }
  spawnSync("tar", ["-C", folder, "-cf", path, "."]);
  rmSync(folder, { recursive: true });
  return path;
}
let big: string | undefined;

/** Returns the time that it took. What has the layer already is removed first: it would be found. */
async function importBig(target: Target, image: string): Promise<number> {
  big ??= bigTar();
  const line = `"$docker" import ${big} ${image}`;
  for (const name of ["bench-big", "bench-cat"])
    await docker(target, ["rmi", name]).catch(() => "");
  return timed(() => shell(target, line));
}

export async function removeAll(target: Target, label: string): Promise<void> {
  const ids = (await docker(target, ["ps", "-aq", "--filter", `label=${label}`])).split("\n");
  if (ids[0]) await docker(target, ["rm", "-f", ...ids]);
}

function runJob(name: string, flags: readonly string[]): Job {
  return {
    name,
    unit: "ms",
    rounds: 15,
    run: (target) => timed(() => docker(target, ["run", "--rm", ...flags, "bench", "true"])),
  };
}

const starting = (width: number): Job => ({
  name: `run -d, ${width} at a time`,
  unit: "a second",
  rounds: 3,
  run: async (target) => {
    const count = 16;
    let left = count;
    const one = () => docker(target, ["run", "-d", "-l", "bench=d", "bench", "sleep", "1000"]);
    const lane = async () => {
      while (left-- > 0) await one();
    };
    const ms = await timed(() => Promise.all(Array.from({ length: width }, lane)));
    await removeAll(target, "bench=d");
    return each(count, ms);
  },
});

const contextFolder = join(scratch, "context");
function makeContext(): void {
  mkdirSync(join(contextFolder, "files"), { recursive: true });
  for (let index = 0; index < 2000; index++) {
    writeFileSync(join(contextFolder, "files", `f${index}`), `file ${index}\n`.repeat(20));
  }
  const lines = ["FROM bench", "ARG ROUND", "COPY files /files"];
  for (let step = 1; step <= 6; step++) lines.push(`RUN echo $ROUND ${step} > /step${step}`);
  lines.push("WORKDIR /files", "ENV A=b");
  writeFileSync(join(contextFolder, "Dockerfile"), `${lines.join("\n")}\n`);
}

function buildJob(name: string, isCold: boolean): Job {
  return {
    name,
    unit: "ms",
    rounds: 3,
    setUp: async () => makeContext(),
    run: (target, round) => {
      const argument = `ROUND=${isCold ? `${round}-${Date.now()}` : "same"}`;
      return timed(() => docker(target, buildWords(argument)));
    },
  };
}

const buildWords = (argument: string) =>
  ["build", "-q", "--build-arg", argument, "-t", "bench-built", contextFolder] as const;

/** Requests a second over one kept connection each, four at a time. */
export async function requestRate(target: Target, path: string): Promise<number> {
  const { Agent } = await import("node:http");
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const socketPath = target.host.slice("unix://".length);
  const one = () =>
    new Promise<void>((resolve, reject) => {
      request({ socketPath, path, agent }, (response) => {
        response.resume().on("end", () => resolve());
      })
        .on("error", reject)
        .end();
    });
  const count = 2000;
  let left = count;
  const lane = async () => {
    while (left-- > 0) await one();
  };
  const ms = await timed(() => Promise.all([lane(), lane(), lane(), lane()]));
  agent.destroy();
  return each(count, ms);
}

/** Resident ("Rss") or proportional ("Pss": shared pages divided among their users) memory, MB. */
export function memoryMegabytes(pid: number, kind: "Rss" | "Pss"): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(new RegExp(`^${kind}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1024;
}

/** Proportional memory of the processes that an engine keeps beside these containers', MB for each. */
async function besideEach(target: Target, label: string): Promise<number> {
  const listed = await docker(target, ["ps", "-q", "--no-trunc", "--filter", `label=${label}`]);
  const ids = listed.split("\n");
  let total = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      // A watcher that was started ahead is known by its directory alone.
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8") + readlinkSync(`/proc/${pid}/cwd`);
      if (ids.some((id) => line.includes(id))) total += memoryMegabytes(Number(pid), "Pss");
    } catch {
      // it ended while we looked
    }
  }
  return total / ids.length;
}

function memoryJob(name: string, read: Job["run"]): Job {
  return {
    name,
    unit: "MB",
    rounds: 1,
    setUp: async (target) => {
      const run = ["run", "-d", "-l", "bench=m", "bench", "sleep", "1000"];
      for (let count = 0; count < 20; count++) await docker(target, run);
      await Bun.sleep(10_000); // idle, as the target says
    },
    run: read,
    tearDown: (target) => removeAll(target, "bench=m"),
  };
}

const daemonMemory = (kind: "Rss" | "Pss") =>
  memoryJob(`memory of the daemon, 20 idle containers, ${kind}`, async ({ pid }) =>
    pid ? memoryMegabytes(pid, kind) : Number.NaN,
  );

const catFlags = (extra: readonly string[]) => ["run", "--rm", "--network", "none", ...extra];

export const jobs: readonly Job[] = [
  // First, so that the engine is fresh.
  daemonMemory("Rss"),
  daemonMemory("Pss"),
  memoryJob("memory beside each of 20 containers, Pss", (target) => besideEach(target, "bench=m")),
  runJob("run --rm, bridge", []),
  runJob("run --rm, network none", ["--network", "none"]),
  runJob("run --rm, network host", ["--network", "host"]),
  starting(1),
  starting(8),
  {
    name: "rm -f of 20 running",
    unit: "a second",
    rounds: 2,
    run: async (target) => {
      const start = () => docker(target, ["run", "-d", "-l", "bench=rm", "bench", "sleep", "1000"]);
      for (let batch = 0; batch < 5; batch++)
        await Promise.all([start(), start(), start(), start()]);
      const ids = (await docker(target, ["ps", "-q", "--filter", "label=bench=rm"])).split("\n");
      return each(ids.length, await timed(() => docker(target, ["rm", "-f", ...ids])));
    },
  },
  {
    name: "exec true",
    unit: "ms",
    rounds: 15,
    setUp: async (target) => {
      const words = "run -d --name bench-exec -l bench=x bench sleep 1000";
      await docker(target, words.split(" "));
    },
    run: (target) => timed(() => docker(target, ["exec", "bench-exec", "true"])),
    tearDown: (target) => removeAll(target, "bench=x"),
  },
  {
    name: "import 200 MB",
    unit: "MB/s",
    rounds: 3,
    run: async (target) => rate(bigMegabytes, await importBig(target, "bench-big")),
  },
  {
    name: "save 200 MB",
    unit: "MB/s",
    rounds: 3,
    setUp: async (target) => void (await importBig(target, "bench-big")),
    run: async (target) =>
      rate(bigMegabytes, await timed(() => shell(target, `"$docker" save bench-big > /dev/null`))),
  },
  {
    name: "load 200 MB",
    unit: "MB/s",
    rounds: 3,
    setUp: async (target) => {
      await importBig(target, "bench-big");
      shell(target, `"$docker" save -o ${scratch}/${target.name}.tar bench-big`);
    },
    run: async (target) => {
      await docker(target, ["rmi", "bench-big"]);
      const line = `"$docker" load -q -i ${scratch}/${target.name}.tar`;
      return rate(bigMegabytes, await timed(() => shell(target, line)));
    },
  },
  {
    name: "commit 200 MB",
    unit: "MB/s",
    rounds: 5,
    run: async (target) => {
      const fill =
        "for i in 1 2 3 4; do dd if=/dev/urandom of=/f$i bs=1M count=50 2>/dev/null; done";
      const words = "run --name bench-commit -l bench=c bench sh -c";
      await docker(target, [...words.split(" "), fill]);
      const ms = await timed(() => docker(target, ["commit", "bench-commit", "bench-committed"]));
      await removeAll(target, "bench=c");
      await docker(target, ["rmi", "bench-committed"]);
      return rate(bigMegabytes, ms);
    },
  },
  buildJob("build, ten steps, 2,000 files, cold", true),
  buildJob("build, ten steps, 2,000 files, cached", false),
  {
    name: "run cat 200 MB, unlogged",
    unit: "MB/s",
    rounds: 3,
    run: async (target) => {
      const words = [...catFlags(["--log-driver", "none"]), "bench-cat", "/bin/cat"];
      const line = `"$docker" ${words.join(" ")} /file0 /file1 /file2 /file3 > /dev/null`;
      return rate(bigMegabytes, await timed(() => shell(target, line)));
    },
    setUp: mixedImage,
  },
  {
    name: "run 200 MB of lines, logged",
    unit: "MB/s",
    rounds: 3,
    setUp: linesImage,
    run: async (target) => {
      const line = `"$docker" ${catFlags([]).join(" ")} bench-lines cat /lines > /dev/null`;
      return rate(bigMegabytes, await timed(() => shell(target, line)));
    },
    tearDown: async (target) => void (await docker(target, ["rmi", "bench-lines"])),
  },
  {
    name: "logs of 50 MB",
    unit: "MB/s",
    rounds: 3,
    setUp: async (target) => {
      const words = `yes "a line of a log, as long as most of them are, sixty-four bytes" | head -c 52428800`;
      const flags = ["-d", "--name", "bench-logs", "-l", "bench=l"];
      await docker(target, ["run", ...flags, "bench", "sh", "-c", words]);
      await docker(target, ["wait", "bench-logs"]);
    },
    run: async (target) =>
      rate(50, await timed(() => shell(target, `"$docker" logs bench-logs > /dev/null`))),
    tearDown: (target) => removeAll(target, "bench=l"),
  },
  {
    name: "GET /containers/json, 20 containers",
    unit: "a second",
    rounds: 3,
    setUp: async (target) => {
      for (let count = 0; count < 20; count++) {
        await docker(target, ["run", "-d", "-l", "bench=g", "bench", "sleep", "1000"]);
      }
    },
    run: (target) => requestRate(target, "/v1.41/containers/json"),
    tearDown: (target) => removeAll(target, "bench=g"),
  },
];

/** The image of `import`, with busybox above it, so that `cat` can be run in it. */
async function mixedImage(target: Target): Promise<void> {
  await importBig(target, "bench-cat");
  const name = await docker(target, ["create", "bench-cat", "/bin/cat"]);
  await docker(target, ["cp", "-", `${name}:/`], busyboxTar());
  await docker(target, ["commit", name, "bench-cat"]);
  await docker(target, ["rm", name]);
}

/** Lines in a file: making them (busybox's `yes | head`, 100 MB/s) takes longer than logging them. */
async function linesImage(target: Target): Promise<void> {
  const words = `yes "a line of a log, as long as most of them are, sixty-four bytes" | head -c ${bigMegabytes << 20} > /lines`;
  await docker(target, ["run", "--name", "bench-lines", "bench", "sh", "-c", words]);
  await docker(target, ["commit", "bench-lines", "bench-lines"]);
  await docker(target, ["rm", "bench-lines"]);
}

export async function prepare(target: Target): Promise<void> {
  await docker(target, ["import", "-c", 'CMD ["sh"]', "-", "bench"], busyboxTar());
}

export async function cleanUp(target: Target): Promise<void> {
  const images = ["bench-built", "bench-big", "bench-cat", "bench"];
  for (const image of images) await docker(target, ["rmi", "-f", image]).catch(() => "");
}

export async function own(target: Target, args: readonly string[]): Promise<void> {
  const ran = await command([lading, "-H", target.host, ...args]);
  if (ran.code !== 0) throw new Error(ran.stderr);
}

/** Ours alone, with our own client, which the docker client's start-up does not slow down. */
export const ownJobs: readonly Job[] = [
  {
    name: "run --rm, bridge, with our own client",
    unit: "ms",
    rounds: 15,
    run: (target) => timed(() => own(target, ["run", "--rm", "bench", "true"])),
  },
  {
    name: "build, the same cached, with our own client",
    unit: "ms",
    rounds: 7,
    setUp: async (target) => {
      makeContext();
      await own(target, buildWords("ROUND=same"));
    },
    run: (target) => timed(() => own(target, buildWords("ROUND=same"))),
  },
];
