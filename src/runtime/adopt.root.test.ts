import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { bundleSpec, everything, makeLaboratory, newId, outcomeOf, textOf } from "./laboratory.ts";
import { openRuntime } from "./runtime.ts";
import type { Runtime } from "./types.ts";

setDefaultTimeout(60_000);
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime | undefined;

beforeAll(() => {
  laboratory = makeLaboratory();
});
const children: Bun.Subprocess[] = [];
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  const last = runtime ?? (await openRuntime({ directory: `${laboratory.directory}/run` }));
  await last.reconcile(new Set());
  await last.close();
  laboratory[Symbol.dispose]();
});

const disk = (id: string, bytesMax = 64 << 20) => {
  return { kind: "disk", directory: `${laboratory.directory}/log-${id}`, bytesMax } as const;
};

/** Runs a daemon until it is ready, and returns how to kill it. */
async function daemon(task: Record<string, unknown>): Promise<() => Promise<void>> {
  const all = { directory: `${laboratory.directory}/run`, rootfs: laboratory.rootfs, ...task };
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/crash.ts`, JSON.stringify(all)], {
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env }, // as it is now: the group of this run is in it
  });
  children.push(child);
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  expect(Buffer.from(value ?? []).toString()).toBe("ready\n");
  return async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
}

async function withRuntime<T>(task: (runtime: Runtime) => Promise<T>): Promise<T> {
  runtime = await openRuntime({ directory: `${laboratory.directory}/run` });
  try {
    return await task(runtime);
  } finally {
    await runtime.close();
    runtime = undefined;
  }
}

test("no line of 10,000 a second is lost or doubled when the daemon is killed again and again", async () => {
  const id = newId();
  const logging = disk(id);
  const lines = 30_000;
  const script = `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo line $i; [ $((i % 50)) = 0 ] && usleep 3000; done; exit 42`;
  let kill = await daemon({ id, logging, args: ["sh", "-c", script] });
  for (let round = 0; round < 5; round++) {
    await Bun.sleep(150);
    await kill();
    kill = await daemon({ id, logging, adopts: true });
  }
  await Bun.sleep(100);
  await kill();
  await withRuntime(async (runtime) => {
    const running = await runtime.adopt(id, { logging });
    const { text, exitCode } = await outcomeOf(running!);
    expect(exitCode).toBe(42);
    const got = text.split("\n").slice(0, -1);
    expect(got).toHaveLength(lines);
    expect(got.findIndex((line, index) => line !== `line ${index + 1}`)).toBe(-1);
    await runtime.remove(id);
  });
});

test("adopt() after the end gives the exit code, when it was, and all of the output", async () => {
  const id = newId();
  const logging = disk(id);
  const kill = await daemon({
    id,
    logging,
    args: ["sh", "-c", "usleep 300000; head -c 60000 /dev/zero; echo last words; exit 17"],
  });
  await kill();
  const killedMs = Date.now();
  while (!existsSync(`${laboratory.directory}/run/run/${id}/exit`)) await Bun.sleep(20);
  await Bun.sleep(1_000);
  await withRuntime(async (runtime) => {
    const running = await runtime.adopt(id, { logging });
    const { text, exitCode, atMs } = await outcomeOf(running!);
    expect(exitCode).toBe(17);
    expect(text).toHaveLength(60_000 + "last words\n".length);
    expect(text).toEndWith("last words\n");
    expect(atMs - killedMs).toBeLessThan(900);
    await runtime.remove(id);
    expect(await runtime.adopt(id, { logging })).toBeUndefined();
  });
});

test("adopt() gives the exit code that a daemon had taken, with all output, and not written down", async () => {
  const id = newId();
  const logging = disk(id);
  const kill = await daemon({
    id,
    logging,
    args: ["sh", "-c", "echo last; exit 19"],
    follows: true,
  });
  await kill();
  await withRuntime(async (runtime) => {
    const running = await runtime.adopt(id, { logging });
    expect(await outcomeOf(running!)).toMatchObject({ text: "last\n", exitCode: 19 });
    await runtime.remove(id);
    expect(await runtime.adopt(id, { logging })).toBeUndefined();
  });
});

test("adopt() gives up on a runtime that does not get on, and ends it", async () => {
  const [id, program] = [newId(), `${laboratory.directory}/stuck`];
  const script = `#!/bin/sh\ncase " $* " in *" run "*) exec sleep 98761 ;; esac\nexec crun "$@"\n`;
  writeFileSync(program, script, { mode: 0o755 });
  const logging = disk(id);
  const [programs, args] = [{ stuck: [program] }, ["true"]];
  const kill = await daemon({ id, logging, args, runtime: "stuck", programs, stuck: true });
  await kill();
  const isThere = () => Bun.spawnSync(["pgrep", "-f", "^sleep 98761$"]).exitCode === 0;
  while (!isThere()) await Bun.sleep(10);
  const directory = `${laboratory.directory}/run`;
  const impatient = await openRuntime({ directory, programs, adoptTimeoutMs: 300 });
  expect(await impatient.adopt(id, { logging })).toBeUndefined();
  while (isThere()) await Bun.sleep(10); // it is killed, and has yet to end
  await impatient.remove(id);
  await impatient.close();
});

test("adopt() takes the exit code from the file alone when the watcher is gone too", async () => {
  const id = newId();
  const logging = disk(id);
  const kill = await daemon({
    id,
    logging,
    args: ["sh", "-c", "echo last; exit 20"],
    follows: true,
  });
  await kill();
  const directory = `${laboratory.directory}/run/run/${id}`;
  process.kill(Number(await Bun.file(`${directory}/watcher`).text()), "SIGKILL");
  await withRuntime(async (runtime) => {
    const running = await runtime.adopt(id, { logging });
    expect(await outcomeOf(running!)).toMatchObject({ text: "last\n", exitCode: 20 });
    await runtime.remove(id);
  });
});

test("a killed daemon does not end stdin; a later one writes to it and ends it", async () => {
  const id = newId();
  const logging = disk(id);
  const kill = await daemon({ id, logging, args: ["cat"], stdin: true, input: "before\n" });
  await kill();
  await Bun.sleep(100);
  await withRuntime(async (runtime) => {
    const running = await runtime.adopt(id, { logging });
    expect(existsSync(`${laboratory.directory}/run/run/${id}/exit`)).toBe(false);
    await running!.write(Buffer.from("after\n"));
    running!.closeStdin();
    expect(await outcomeOf(running!)).toMatchObject({ text: "before\nafter\n", exitCode: 0 });
    await runtime.remove(id);
  });
});

for (const kind of ["disk", "none"] as const) {
  test(`a terminal survives two daemons with output in between (${kind})`, async () => {
    const id = newId();
    const logging = kind === "disk" ? disk(id) : { kind };
    const script = "stty -echo; sleep 0.3; echo between; read x; echo got $x; stty size; exit 3";
    const args = ["sh", "-c", script];
    const kill = await daemon({ id, logging, args, stdin: true, terminal: true });
    await kill();
    await Bun.sleep(400);
    if (kind === "disk") await (await daemon({ id, logging, adopts: true }))();
    await withRuntime(async (runtime) => {
      const running = await runtime.adopt(id, { logging });
      running!.resize(11, 22);
      await running!.write(Buffer.from("typed\n"));
      const { text, exitCode } = await outcomeOf(running!);
      expect(text).toBe("between\r\ngot typed\r\n11 22\r\n");
      expect(exitCode).toBe(3);
      await runtime.remove(id);
    });
  });
}

test("adoptExec() takes over a process that was added", async () => {
  const id = newId();
  const logging = disk(id);
  const kill = await daemon({
    id,
    logging,
    args: ["sleep", "1000"],
    exec: ["sh", "-c", "read x; echo $x; exit 5"],
  });
  await kill();
  await withRuntime(async (runtime) => {
    const container = await runtime.adopt(id, { logging });
    const added = await runtime.adoptExec(id, "added");
    expect(existsSync(`/proc/${added!.pid}/root`)).toBe(true);
    await added!.write(Buffer.from("hello\n"));
    expect(await outcomeOf(added!)).toMatchObject({ text: "hello\n", exitCode: 5 });
    expect(await runtime.adoptExec(id, "other")).toBeUndefined();
    container!.signal(9);
    expect((await container!.exited).exitCode).toBe(137);
    await runtime.remove(id);
  });
});

test("reconcile() lets known containers run, and removes others with all that they left", async () => {
  const [known, unknown] = [newId(), newId()];
  for (const id of [known, unknown]) {
    await (await daemon({ id, logging: disk(id), args: ["sleep", "1000"], stdin: true }))();
  }
  await withRuntime(async (runtime) => {
    const running = await runtime.adopt(known, { logging: disk(known) });
    const done = await runtime.reconcile(new Set([known]));
    expect(done).toEqual([`removed what was left of container ${unknown} in the runtime`]);
    expect(readdirSync(`${laboratory.directory}/run/run`)).toEqual([known]);
    expect(existsSync(`/proc/${running!.pid}`)).toBe(true);
    expect(await runtime.reconcile(new Set([known]))).toEqual([]);
    // The OCI runtime ends by itself when its container has.
    const isLeft = () => Bun.spawnSync(["pgrep", "-f", unknown]).exitCode === 0;
    for (let tries = 0; tries < 200 && isLeft(); tries++) await Bun.sleep(50);
    expect(isLeft()).toBe(false);
    running!.signal(9);
    await running!.exited;
    await runtime.reconcile(new Set());
  });
});

test("a watcher that somebody killed is an end with exit code 255, and nothing runs on", async () => {
  const id = newId();
  const logging = disk(id);
  await withRuntime(async (runtime) => {
    const spec = bundleSpec(laboratory.rootfs, ["sleep", "1000"], { id });
    const running = await runtime.start(spec, { stdin: false, logging });
    const pid = await Bun.file(`${laboratory.directory}/run/run/${id}/watcher`).text();
    process.kill(Number(pid), "SIGKILL");
    expect((await running.exited).exitCode).toBe(255);
    await runtime.remove(id);
    expect(existsSync(`/proc/${running.pid}/root/bin`)).toBe(false);
    expect(await textOf(running.read(everything))).toBe("");
  });
});

test("the shell that waits to be a watcher ends with its daemon", async () => {
  const id = newId();
  /** Shells by where they are: one that watches is in the directory of its process. */
  const waiting = () => {
    const { stdout } = Bun.spawnSync(["sh", "-c", "readlink /proc/[0-9]*/cwd"]);
    const places = stdout.toString().split("\n");
    return places.filter((place) => place === `${laboratory.directory}/run`).length;
  };
  const kill = await daemon({ id, logging: disk(id), args: ["sleep", "1000"] });
  while (waiting() !== 1) await Bun.sleep(10);
  await kill();
  while (waiting() > 0) await Bun.sleep(10);
  await withRuntime(async (runtime) => {
    await runtime.reconcile(new Set());
    while (waiting() !== 1) await Bun.sleep(10);
  });
  while (waiting() > 0) await Bun.sleep(10);
});
