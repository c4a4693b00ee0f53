import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readlinkSync } from "node:fs";
import { bundleSpec, makeLaboratory, newId, outcomeOf, path, processSpec } from "./laboratory.ts";
import { list } from "./remove.ts";
import { openRuntime } from "./runtime.ts";
import type { Runtime } from "./types.ts";
import { readText } from "./watcher.ts";

setDefaultTimeout(60_000);
const logging = { kind: "none" } as const;
const plain = { stdin: false } as const;
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime;
let id: string;

beforeAll(async () => {
  laboratory = makeLaboratory();
  runtime = await openRuntime({ directory: `${laboratory.directory}/run` });
  const spec = bundleSpec(laboratory.rootfs, ["sleep", "1000"]);
  id = spec.id;
  await runtime.start(spec, { ...plain, logging });
});
afterAll(async () => {
  await runtime.reconcile(new Set());
  await runtime.close();
  laboratory[Symbol.dispose]();
});

const until = async (isSo: () => boolean) => {
  while (!isSo()) await Bun.sleep(5);
};
const place = (execId: string, container = id) =>
  `${laboratory.directory}/run/run/${container}/exec-${execId}`;
const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

function fileAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // it is gone again
  }
}

/** The watcher that was started ahead, and the OCI runtime, once it has opened what it waits for. */
async function begun(directory: string): Promise<{ watcher: number; child: number }> {
  const watcher = () => Number(readText(`${directory}/watcher`) || 0);
  const child = () => Number(readText(`/proc/${watcher()}/task/${watcher()}/children`) || 0);
  await until(() => {
    const files = list(`/proc/${child()}/fd`);
    return files.some((name) => fileAt(`/proc/${child()}/fd/${name}`).endsWith("/process.json"));
  });
  return { watcher: watcher(), child: child() };
}

test("exec() goes on with what expectExec() began", async () => {
  runtime.expectExec(id, "a");
  const { watcher, child } = await begun(place("a"));
  const added = processSpec(["sh", "-c", "echo out; echo $WORD; exit 7"], {
    env: [path, "WORD=hear"],
  });
  const running = await runtime.exec(id, "a", added, plain);
  expect(Number(readText(`${place("a")}/watcher`) ?? watcher)).toBe(watcher);
  expect(await outcomeOf(running)).toMatchObject({ text: "out\nhear\n", exitCode: 7 });
  await until(() => !existsSync(place("a")) && !isAlive(watcher) && !isAlive(child));
});

test("exec() at once after expectExec() works, and refuses what cannot be run", async () => {
  for (const execId of ["b1", "b2", "b3", "b4", "b5", "b6"]) runtime.expectExec(id, execId);
  const all = ["b1", "b2", "b3", "b4", "b5", "b6"].map(async (execId) =>
    outcomeOf(await runtime.exec(id, execId, processSpec(["sh", "-c", "exit 3"]), plain)),
  );
  for (const { exitCode } of await Promise.all(all)) expect(exitCode).toBe(3);
  runtime.expectExec(id, "c");
  const failed = runtime.exec(id, "c", processSpec(["nosuch"]), plain);
  expect(failed).rejects.toMatchObject({ code: "not_found", exitCode: 127 });
  await failed.catch(() => {});
});

test("exec() starts anew where what was begun has come to an end", async () => {
  runtime.expectExec(id, "k");
  const { watcher, child } = await begun(place("k"));
  process.kill(child, "SIGKILL");
  await until(() => !isAlive(watcher));
  const running = await runtime.exec(id, "k", processSpec(["sh", "-c", "exit 4"]), plain);
  expect((await outcomeOf(running)).exitCode).toBe(4);
});

test("exec() with stdin or a terminal does without what was begun", async () => {
  runtime.expectExec(id, "d");
  const { watcher } = await begun(place("d"));
  const running = await runtime.exec(id, "d", processSpec(["cat"]), { stdin: true });
  await running.write(Buffer.from("typed"));
  running.closeStdin();
  expect(await outcomeOf(running)).toMatchObject({ text: "typed", exitCode: 0 });
  await until(() => !isAlive(watcher));
  runtime.expectExec(id, "e");
  const tty = processSpec(["sh", "-c", "test -t 1"], { terminal: true });
  expect((await outcomeOf(await runtime.exec(id, "e", tty, plain))).exitCode).toBe(0);
});

test("expectExec() that no exec() follows leaves nothing", async () => {
  runtime.expectExec(id, "f");
  const { watcher, child } = await begun(place("f"));
  await until(() => !existsSync(place("f")) && !isAlive(watcher) && !isAlive(child));
});

test("remove() ends what was begun in a container", async () => {
  const spec = bundleSpec(laboratory.rootfs, ["sleep", "1000"]);
  await runtime.start(spec, { ...plain, logging });
  runtime.expectExec(spec.id, "g");
  const { watcher, child } = await begun(place("g", spec.id));
  await runtime.remove(spec.id);
  await until(() => !isAlive(watcher) && !isAlive(child));
});

test("what was begun ends with its daemon, and the next one tidies up", async () => {
  const directory = `${laboratory.directory}/other`;
  const other = newId();
  const words = { directory, rootfs: laboratory.rootfs, id: other, args: ["sleep", "1000"] };
  const task = JSON.stringify({ ...words, logging, expects: true });
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/crash.ts`, task], {
    env: { ...process.env },
  });
  const at = `${directory}/run/${other}/exec-ahead`;
  const ahead = await begun(at);
  child.kill("SIGKILL");
  await child.exited;
  await until(() => !isAlive(ahead.watcher) && !isAlive(ahead.child));
  const next = await openRuntime({ directory });
  expect((await next.adopt(other, { logging }))?.pid).toBeGreaterThan(0);
  const done = await next.reconcile(new Set([other]));
  expect(done).toEqual([`removed what was left of exec exec-ahead of container ${other}`]);
  expect(existsSync(at)).toBe(false);
  await next.reconcile(new Set());
  await next.close();
});
