import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { makeFifo } from "../sys/mod.ts";
import { bundleSpec, makeLaboratory, newId, outcomeOf, processSpec } from "./laboratory.ts";
import { closePipes } from "./pipes.ts";
import { openRuntime } from "./runtime.ts";
import type { SpareRun } from "./spare-run.ts";
import { SpareRuns } from "./spare-run.ts";
import type { Runtime } from "./types.ts";
import { makePipes, readText, watchScript } from "./watcher.ts";

setDefaultTimeout(60_000);
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime;
let directory: string;
const logging = { kind: "none" } as const;

beforeAll(async () => {
  laboratory = makeLaboratory();
  directory = `${laboratory.directory}/run`;
  runtime = await openRuntime({ directory });
});
afterAll(async () => {
  await runtime.reconcile(new Set());
  await runtime.close();
  laboratory[Symbol.dispose]();
});

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await Bun.sleep(5);
}

const spares = () =>
  readdirSync(directory)
    .filter((name) => /^spare-[0-9a-f]{64}$/.test(name))
    .map((name) => `${directory}/${name}`);

const watcherOf = (spare: string) => Number(readText(`${spare}/watcher`) ?? 0);
const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
const childOf = (pid: number) => Number(readText(`/proc/${pid}/task/${pid}/children`) ?? 0);

/** The OCI runtime has opened its configuration, and waits for it. */
function isLoaded(spare: string): boolean {
  const files = `/proc/${childOf(watcherOf(spare))}/fd`;
  try {
    return readdirSync(files).some((name) =>
      readlinkSync(`${files}/${name}`).endsWith("/config.json"),
    );
  } catch {
    return false; // it is not there yet
  }
}

async function loaded(): Promise<string> {
  await until(() => spares().some(isLoaded));
  return spares().find(isLoaded)!;
}

const states = () => readdirSync(`${directory}/state`);

test("start() takes the runtime that waits; its container goes by our ID all the same", async () => {
  const watcher = watcherOf(await loaded());
  const spec = bundleSpec(laboratory.rootfs, ["sh", "-c", "sleep 1000 & wait"]);
  const running = await runtime.start(spec, { stdin: false, logging });
  expect(watcherOf(`${directory}/run/${spec.id}`)).toBe(watcher);
  expect(states()).not.toContain(spec.id);
  const added = processSpec(["sh", "-c", "echo $((40 + 2)); exit 5"]);
  const exec = await runtime.exec(spec.id, "e", added, { stdin: false });
  expect(await outcomeOf(exec)).toMatchObject({ text: "42\n", exitCode: 5 });
  await runtime.update(spec.id, { pids: { limit: 77 } });
  expect((await runtime.usage(spec.id)).pids.limit).toBe(77);
  expect(await runtime.reconcile(new Set([spec.id]))).toEqual([]);
  running.signal(9);
  expect((await running.exited).exitCode).toBe(137);
  await runtime.remove(spec.id);
  await until(() => states().length === 0);
  expect(existsSync(`${directory}/run/${spec.id}`)).toBe(false);
});

test("remove() ends a container whose runtime was a spare one", async () => {
  await loaded();
  const spec = bundleSpec(laboratory.rootfs, ["sleep", "1000"]);
  const running = await runtime.start(spec, { stdin: false, logging });
  await runtime.remove(spec.id);
  expect(states()).toEqual([]);
  await until(() => !isAlive(running.pid));
});

test("start() does without a spare one that has come to an end", async () => {
  const watcher = watcherOf(await loaded());
  process.kill(childOf(watcher), "SIGKILL");
  await until(() => !isAlive(watcher));
  const spec = bundleSpec(laboratory.rootfs, ["sh", "-c", "echo here"]);
  const running = await runtime.start(spec, { stdin: false, logging });
  expect(await outcomeOf(running)).toMatchObject({ text: "here\n", exitCode: 0 });
  await runtime.remove(spec.id);
});

test("start() starts anew where a spare one comes to an end as it is taken", async () => {
  process.kill(childOf(watcherOf(await loaded())), "SIGKILL");
  const spec = bundleSpec(laboratory.rootfs, ["sh", "-c", "exit 6"]);
  const running = await runtime.start(spec, { stdin: false, logging });
  expect(await outcomeOf(running)).toMatchObject({ exitCode: 6 });
  await runtime.remove(spec.id);
});

test("a spare one and its runtime end with the daemon that they wait for", async () => {
  const task = { directory: `${laboratory.directory}/other`, rootfs: laboratory.rootfs };
  const words = JSON.stringify({ ...task, id: newId(), args: ["true"], logging });
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/crash.ts`, words]);
  await until(() => existsSync(task.directory));
  directory = task.directory;
  const watcher = watcherOf(
    await loaded().finally(() => (directory = `${laboratory.directory}/run`)),
  );
  const runtimePid = childOf(watcher);
  child.kill("SIGKILL");
  await child.exited;
  await until(() => !isAlive(watcher) && !isAlive(runtimePid));
  const next = await openRuntime({ directory: task.directory });
  await next.reconcile(new Set());
  await next.close();
  const left = readdirSync(task.directory).filter((name) => name.startsWith("spare-"));
  expect(left).toEqual([]);
});

/** What a daemon that is killed in the middle of handing over leaves behind. */
async function halfGiven(id: string, give: (spare: SpareRun, target: string) => void) {
  const watch = ["--log", "log", "run", "--bundle", ".", "--pid-file", "events"];
  const all = new SpareRuns(directory, (name) => [
    ...["crun", "--root", `${directory}/state`, "--cgroup-manager=cgroupfs", ...watch, name],
  ]);
  all.prepare();
  await until(() => spares().filter(isLoaded).length === 2);
  const spare = all.take()!;
  give(spare, `${directory}/run/${id}`);
  closeSync(spare.config);
  closeSync(spare.events);
  closePipes(spare.pipes);
  return spare;
}

test("adopt() ends one that came to its configuration when nobody was there to give it", async () => {
  const id = newId();
  const target = `${directory}/run/${id}`;
  mkdirSync(target);
  makePipes(target, { stdin: false, terminal: false });
  makeFifo(`${target}/config.json`);
  const script = watchScript({
    ...{ stdin: false, terminal: false, tells: true, device: undefined },
    waitsFor: "config.json",
  });
  const argv = ["/bin/sh", "-c", script, "sh", "cat", "config.json"];
  const waiting = Bun.spawn(argv, { cwd: target, detached: true });
  await until(() => childOf(waiting.pid) > 0);
  expect(await runtime.adopt(id, { logging })).toBeUndefined();
  await waiting.exited;
  await runtime.remove(id);
  expect(existsSync(target)).toBe(false);
});

const given = {
  "the directory alone": (spare: SpareRun, target: string) => renameSync(spare.directory, target),
  "a file, and not what the runtime waits for": (spare: SpareRun, target: string) => {
    renameSync(spare.directory, target);
    writeFileSync(`${target}/config.json.new`, "{}");
    renameSync(`${target}/config.json.new`, `${target}/config.json`);
  },
  "a half": (spare: SpareRun, target: string) => {
    given["a file, and not what the runtime waits for"](spare, target);
    writeFileSync(spare.config, '{"ociVersion":"1.0');
  },
};

for (const [what, give] of Object.entries(given)) {
  for (const isOver of [true, false]) {
    const when = isOver ? "and the runtime has seen it" : "just now";
    test(`adopt() finds nothing where a daemon was killed that had given ${what}, ${when}`, async () => {
      await loaded();
      const id = newId();
      const spare = await halfGiven(id, give);
      const watcher = watcherOf(`${directory}/run/${id}`);
      if (isOver) await until(() => !isAlive(watcher));
      expect(await runtime.adopt(id, { logging })).toBeUndefined();
      await runtime.remove(id);
      expect(existsSync(`${directory}/run/${id}`)).toBe(false);
      expect(states()).toEqual([]);
      if (spare.watcher !== undefined) closeSync(spare.watcher);
    });
  }
}
