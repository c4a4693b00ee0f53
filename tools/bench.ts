/**
 * Measures an engine through the official docker client, in turns with a peer when one is given:
 * `npm run bench -- [--against unix:///other.sock] [--against-pid PID] [--only WORD] [--host unix:///…] [--registry]`.
 * Without --host it starts an engine of its own. Prints medians, and ratios (above 1: Lading is better).
 */
import { parseArgs } from "node:util";
import { TestEngine, whyNot } from "../test/engine.ts";
import { clientJobs } from "./bench-clients.ts";
import { cleanUp, type Job, jobs, ownJobs, prepare, type Target } from "./bench-jobs.ts";

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function ratio(job: Job, ours: number, theirs: number): number {
  return ["ms", "MB", "%"].includes(job.unit) ? theirs / ours : ours / theirs;
}

const digits = (value: number) => (value >= 100 ? 0 : value >= 1 ? 1 : 3);
const show = (value: number) => value.toFixed(digits(value)).padStart(9);

async function measure(job: Job, targets: readonly Target[]): Promise<number[]> {
  const values: number[][] = targets.map(() => []);
  for (const target of targets) await job.setUp?.(target);
  for (let round = 0; round < job.rounds; round++) {
    for (const [index, target] of targets.entries())
      values[index]!.push(await job.run(target, round));
  }
  for (const target of targets) await job.tearDown?.(target);
  return values.map(median);
}

const { values: flags } = parseArgs({
  options: {
    against: { type: "string" },
    "against-pid": { type: "string" },
    host: { type: "string" },
    build: { type: "boolean" },
    "buildkit-client": { type: "string" },
    files: { type: "string" },
    only: { type: "string" },
    registry: { type: "boolean" },
  },
});
if (whyNot) {
  console.error(`bench: Cannot measure: ${whyNot}`);
  process.exit(1);
}
if (flags.build) {
  const { benchBuilds } = await import("./bench-build.ts");
  const files = Number(flags.files ?? 50_000);
  const { against, only = "", "buildkit-client": buildkitClient } = flags;
  await benchBuilds({ against, buildkitClient, files, only });
  process.exit(0);
}
const own = flags.host ? undefined : await TestEngine.openUnrecorded("bench");
const targets: Target[] = [{ name: "lading", host: flags.host ?? own!.host, pid: own?.pid }];
if (flags.against) {
  const pid = flags["against-pid"] ? Number(flags["against-pid"]) : undefined;
  targets.push({ name: "peer", host: flags.against, pid });
}
for (const target of targets) await prepare(target);
console.log(`${"".padEnd(40)}${targets.map(({ name }) => name.padStart(9)).join(" ")}    ratio`);
const isWanted = ({ name }: Job) => name.includes(flags.only ?? "");
const all = flags.registry
  ? (await import("./bench-registry.ts")).registryJobs
  : [...jobs, ...clientJobs];
const wanted = all.filter(isWanted);
for (const job of wanted) {
  try {
    const medians = await measure(job, targets);
    const [ours, theirs] = medians as [number, number | undefined];
    const compared = theirs === undefined ? "" : `${ratio(job, ours, theirs).toFixed(1)} x`;
    console.log(
      `${`${job.name} (${job.unit})`.padEnd(48).slice(0, 48)}${medians.map(show).join(" ")}  ${compared}`,
    );
  } catch (error) {
    console.log(`${job.name.padEnd(48)} failed: ${(error as Error).message.trim().slice(0, 300)}`);
  }
}
for (const job of flags.registry ? [] : ownJobs.filter(isWanted)) {
  const [ours] = await measure(job, [targets[0]!]);
  console.log(`${`${job.name} (ms)`.padEnd(48)}${show(ours!)}`);
}
for (const target of targets) await cleanUp(target);
const left = (await own?.close()) ?? [];
for (const line of left) console.error(`bench: left behind: ${line}`);
process.exit(left.length > 0 ? 1 : 0);
