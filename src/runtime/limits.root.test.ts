import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { bundleSpec, everything, makeLaboratory, outcomeOf, textOf } from "./laboratory.ts";
import { openRuntime } from "./runtime.ts";
import type { Resources, Runtime } from "./types.ts";

setDefaultTimeout(60_000);
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime;
const unlogged = { stdin: false, logging: { kind: "none" } } as const;
const eater = "x=x; while :; do x=$x$x; done";

beforeAll(async () => {
  laboratory = makeLaboratory();
  runtime = await openRuntime({ directory: `${laboratory.directory}/run` });
});
afterAll(async () => {
  await runtime.reconcile(new Set());
  await runtime.close();
  laboratory[Symbol.dispose]();
});

const sh = (script: string, resources: Resources = {}) =>
  bundleSpec(laboratory.rootfs, ["sh", "-c", script], { resources });
const memory = { limit: 16 << 20, swap: 16 << 20 };

test("a process over its memory limit is told apart from one that was killed", async () => {
  const eating = sh(eater, { memory });
  const eaten = await outcomeOf(await runtime.start(eating, unlogged));
  expect(eaten).toMatchObject({ exitCode: 137, oomKilled: true });
  const killed = sh("sleep 1000", { memory });
  const running = await runtime.start(killed, unlogged);
  running.signal(9);
  expect(await running.exited).toMatchObject({ exitCode: 137, oomKilled: false });
  const survivor = sh(`(${eater}) 2>/dev/null; exit 3`, { memory });
  const lived = await outcomeOf(await runtime.start(survivor, unlogged));
  expect(lived).toMatchObject({ exitCode: 3, oomKilled: true });
  for (const { id } of [eating, killed, survivor]) await runtime.remove(id);
});

test("pause() stops all processes, and resume() lets them go on", async () => {
  const spec = sh("i=0; while :; do i=$((i+1)); echo $i; usleep 5000; done");
  const running = await runtime.start(spec, unlogged);
  const over = new AbortController();
  let last = 0;
  const reading = (async () => {
    for await (const { bytes } of running.read({ ...everything, signal: over.signal })) {
      last = Number(Buffer.from(bytes).toString().trim().split("\n").at(-1));
    }
  })();
  const state = () => Bun.file(`/proc/${running.pid}/stat`).text();
  while (last < 3) await Bun.sleep(5);
  await runtime.pause(spec.id);
  await Bun.sleep(50);
  const atPause = last;
  await Bun.sleep(100);
  expect(last).toBe(atPause);
  await runtime.pause(spec.id); // it is so already
  await runtime.resume(spec.id);
  while (last <= atPause) await Bun.sleep(5);
  expect(await state()).toContain("(sh)");
  running.signal(9);
  await running.exited;
  over.abort();
  await reading;
  await runtime.remove(spec.id);
});

test("usage() and pids() tell of a container, and update() changes its limits", async () => {
  const spec = sh("sleep 1000 & sleep 1000 & wait", {
    memory: { limit: 64 << 20 },
    pids: { limit: 50 },
    cpu: { quota: 50_000, period: 100_000 },
  });
  const running = await runtime.start(spec, unlogged);
  let pids: number[] = [];
  while (pids.length < 3) pids = await runtime.pids(spec.id);
  expect(pids).toContain(running.pid);
  const before = await runtime.usage(spec.id);
  expect(before.memory.limit).toBe(64 << 20);
  expect(before.pids).toEqual({ current: 3, limit: 50 });
  expect(before.memory.usage).toBeGreaterThan(0);
  expect(before.cpu.totalNs).toBeGreaterThan(0);
  await runtime.update(spec.id, { memory: { limit: 32 << 20 }, pids: { limit: 20 } });
  const after = await runtime.usage(spec.id);
  expect(after.memory.limit).toBe(32 << 20);
  expect(after.pids.limit).toBe(20);
  running.signal(9);
  await running.exited;
  await runtime.remove(spec.id);
  await expect(runtime.usage(spec.id)).rejects.toMatchObject({ code: "not_found" });
});

test("a device that is not allowed cannot be opened, one that is can", async () => {
  const script =
    "mknod /tmp/mem c 1 1; mknod /tmp/null c 1 3; cat /tmp/null && echo fine; cat /tmp/mem";
  const plain = sh(`${script} 2>&1`);
  const { text } = await outcomeOf(await runtime.start(plain, unlogged));
  expect(text).toContain("fine");
  expect(text).toContain("Operation not permitted");
  const rule = { allow: true, type: "c", major: 1, minor: 1, access: "r" } as const;
  const allowed = sh("rm -f /tmp/mem; mknod /tmp/mem c 1 1; exec 3</tmp/mem && echo opened", {
    devices: [rule],
  });
  const running = await runtime.start(allowed, unlogged);
  expect(await textOf(running.read(everything), 1)).not.toContain("not permitted");
  await running.exited;
  for (const { id } of [plain, allowed]) await runtime.remove(id);
});
