/** What `bench.ts --registry` measures: push and pull, each engine against a docker-registry beside it. */
import { createHash } from "node:crypto";
import {
  createReadStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busyboxTar, command } from "../test/engine.ts";
import { PeerRegistry } from "../test/registry-peer.ts";
import { docker, type Job, type Target } from "./bench-jobs.ts";

const megabytes = 500;
const layers = 10;
const oneLayerMegabytes = 117;

const folder = mkdtempSync(join(tmpdir(), "lading-bench-registry-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

async function shell(line: string): Promise<string> {
  const ran = await command(["sh", "-c", line], { cwd: folder, timeoutMs: 300_000 });
  if (ran.code !== 0) throw new Error(`${line}: ${ran.stderr}`);
  return ran.stdout;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** An archive for `load`: busybox, and above it layers of this host's own files, as they come. */
async function makeImage(name: string, sizesMegabytes: readonly number[]): Promise<string> {
  const archive = join(folder, `${name}.tar`);
  const files = (await shell("find /usr -xdev -type f -size -8M | sort"))
    .split("\n")
    .filter(Boolean);
  writeFileSync(join(folder, "layer0"), busyboxTar());
  const names = ["layer0"];
  let at = 0;
  for (const [index, size] of sizesMegabytes.entries()) {
    const list: string[] = [];
    for (let bytes = 0; bytes < size << 20; at = (at + 1) % files.length) {
      list.push(files[at]!);
      bytes += statSync(files[at]!).size;
    }
    writeFileSync(join(folder, "list"), list.join("\n"));
    const layer = `layer${index + 1}`;
    await shell(`tar -cf ${layer} --transform 's,^,data${index}/,' -C / -T list 2>/dev/null`);
    names.push(layer);
  }
  const diffIds = await Promise.all(names.map((each) => sha256(join(folder, each))));
  const config = {
    ...{ architecture: "amd64", os: "linux", config: { Cmd: ["true"] } },
    rootfs: { type: "layers", diff_ids: diffIds.map((hex) => `sha256:${hex}`) },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const item = { Config: "config.json", RepoTags: [`${name}:1`], Layers: names };
  writeFileSync(join(folder, "manifest.json"), JSON.stringify([item]));
  await shell(`tar -cf ${name}.tar manifest.json config.json ${names.join(" ")}`);
  await shell(`rm ${names.join(" ")}`);
  return archive;
}

const archives = new Map<string, Promise<string>>();
const sizes: Readonly<Record<string, readonly number[]>> = {
  "bench-ten": Array.from({ length: layers - 1 }, () => megabytes / (layers - 1)),
  "bench-one": [oneLayerMegabytes],
};

async function load(target: Target, name: string): Promise<void> {
  const made = archives.get(name) ?? makeImage(name, sizes[name]!);
  archives.set(name, made);
  await docker(target, ["load", "-q", "-i", await made]);
}

/** A registry of its own for each target and job. */
const registries = new Map<string, PeerRegistry>();

async function registryOf({ name }: Target): Promise<PeerRegistry> {
  const known = registries.get(name) ?? (await PeerRegistry.open());
  registries.set(name, known);
  return known;
}

async function dropRegistry({ name }: Target): Promise<void> {
  await registries.get(name)?.close();
  registries.delete(name);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

const rate = (size: number, ms: number) => size / (ms / 1000);

function pushJob(name: string, label: string, size: number): Job {
  return {
    name: `push, ${label}, cold`,
    unit: "MB/s",
    rounds: 3,
    setUp: (target) => load(target, name),
    async run(target) {
      await dropRegistry(target);
      const image = `${(await registryOf(target)).address}/${name}:1`;
      await docker(target, ["tag", `${name}:1`, image]);
      const ms = await timed(() => docker(target, ["push", "-q", image]));
      await docker(target, ["rmi", image]);
      return rate(size, ms);
    },
    tearDown: dropRegistry,
  };
}

/** Into the registry, and out of the engine. */
async function publish(target: Target, name: string): Promise<string> {
  const image = `${(await registryOf(target)).address}/${name}:1`;
  await load(target, name);
  await docker(target, ["tag", `${name}:1`, image]);
  await docker(target, ["push", "-q", image]);
  await docker(target, ["rmi", "-f", image, `${name}:1`]);
  return image;
}

function pullJob(name: string, label: string, size: number): Job {
  const images = new Map<string, string>();
  return {
    name: `pull, ${label}, cold`,
    unit: "MB/s",
    rounds: 3,
    setUp: async (target) => void images.set(target.name, await publish(target, name)),
    async run(target) {
      const image = images.get(target.name)!;
      const ms = await timed(() => docker(target, ["pull", "-q", image]));
      await docker(target, ["rmi", image]);
      return rate(size, ms);
    },
    tearDown: dropRegistry,
  };
}

const image = async (target: Target) => `${(await registryOf(target)).address}/bench-one:1`;

/** The most that a process held at a time since it was last asked. */
function peakMegabytes({ pid }: Target): number {
  const status = pid ? readFileSync(`/proc/${pid}/status`, "utf8") : "";
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) / 1024;
}

function forgetPeak({ pid }: Target): void {
  if (pid) writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

function memoryJob(word: "push" | "pull"): Job {
  return {
    name: `memory of the daemon in a ${word} of ${megabytes} MB`,
    unit: "MB",
    rounds: 1,
    async run(target) {
      const name = "bench-ten";
      if (word === "pull") {
        const published = await publish(target, name);
        forgetPeak(target);
        await docker(target, ["pull", "-q", published]);
        const peak = peakMegabytes(target);
        await docker(target, ["rmi", published]);
        return peak;
      }
      await load(target, name);
      forgetPeak(target);
      await publish(target, name);
      return peakMegabytes(target);
    },
    tearDown: dropRegistry,
  };
}

export const registryJobs: readonly Job[] = [
  pushJob("bench-ten", `${megabytes} MB in ${layers} layers`, megabytes),
  pullJob("bench-ten", `${megabytes} MB in ${layers} layers`, megabytes),
  pushJob("bench-one", `one layer of ${oneLayerMegabytes} MB`, oneLayerMegabytes),
  pullJob("bench-one", `one layer of ${oneLayerMegabytes} MB`, oneLayerMegabytes),
  {
    name: "pull with nothing new",
    unit: "ms",
    rounds: 15,
    async setUp(target) {
      await publish(target, "bench-one");
      await docker(target, ["pull", "-q", await image(target)]);
    },
    run: async (target) => {
      const name = await image(target);
      return timed(() => docker(target, ["pull", name]));
    },
    async tearDown(target) {
      await docker(target, ["rmi", "-f", await image(target)]);
      await dropRegistry(target);
    },
  },
  memoryJob("push"),
  memoryJob("pull"),
];
