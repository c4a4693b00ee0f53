/** Containers under an OCI runtime that is not crun, where the machine has one. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { bundleSpec, makeLaboratory, newId, outcomeOf, processSpec } from "./laboratory.ts";
import { openRuntime } from "./runtime.ts";
import type { BundleSpec, Runtime } from "./types.ts";

setDefaultTimeout(60_000);
const runc = Bun.which("runc", { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" });
const programs = { other: [runc ?? "", "--debug"], absent: ["/nowhere/runtime"] };
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime;
const unlogged = { kind: "none" } as const;
const open = () => openRuntime({ directory: `${laboratory.directory}/run`, programs });

beforeAll(async () => {
  laboratory = makeLaboratory();
  runtime = await open();
});
afterAll(async () => {
  await runtime.reconcile(new Set());
  await runtime.close();
  laboratory[Symbol.dispose]();
});

const sh = (script: string, more: Partial<BundleSpec> = {}) =>
  bundleSpec(laboratory.rootfs, ["sh", "-c", script], { runtime: "other", ...more });

test.skipIf(!runc)(
  "another runtime: output, input, exit code, limits and what is left",
  async () => {
    const spec = sh("cat; echo err >&2; exit 9", { resources: { memory: { limit: 32 << 20 } } });
    const running = await runtime.start(spec, { stdin: true, logging: unlogged });
    expect(existsSync(`/proc/${running.pid}/root/bin/busybox`)).toBe(true);
    await runtime.update(spec.id, { memory: { limit: 48 << 20, swap: -1 } });
    expect((await runtime.usage(spec.id)).memory.limit).toBe(48 << 20);
    expect(await runtime.pids(spec.id)).toContain(running.pid);
    await running.write(Buffer.from("hello\n"));
    running.closeStdin();
    const { text, exitCode } = await outcomeOf(running);
    expect(text.split("\n").sort()).toEqual(["", "err", "hello"]);
    expect(exitCode).toBe(9);
    await runtime.remove(spec.id);
    expect(existsSync(`${laboratory.directory}/run/run/${spec.id}`)).toBe(false);
    expect(existsSync(`${laboratory.directory}/run/state/${spec.id}`)).toBe(false);
  },
);

test.skipIf(!runc)("another runtime: a memory limit that is exceeded is told", async () => {
  const spec = sh("x=a; while :; do x=$x$x; done", {
    resources: { memory: { limit: 24 << 20, swap: 24 << 20 } },
  });
  const running = await runtime.start(spec, { stdin: false, logging: unlogged });
  expect(await running.exited).toMatchObject({ exitCode: 137, oomKilled: true });
  await runtime.remove(spec.id);
});

test.skipIf(!runc)("another runtime: a terminal has its size, and hears of a new one", async () => {
  const script =
    'stty size; trap "stty size; exit 4" WINCH; echo ready; while :; do sleep 0.1; done';
  const process = processSpec(["sh", "-c", script], { terminal: true });
  const spec = sh("", { process });
  const size = { rows: 11, columns: 22 };
  const running = await runtime.start(spec, { stdin: true, logging: unlogged, size });
  const outcome = outcomeOf(running);
  const shown: string[] = [];
  const reader = running.read({ stdout: true, stderr: true, from: "run", follow: true });
  for await (const { bytes } of reader) {
    shown.push(Buffer.from(bytes).toString());
    if (shown.join("").includes("ready")) break;
  }
  running.resize(33, 44);
  expect(await outcome).toMatchObject({ text: "11 22\r\nready\r\n33 44\r\n", exitCode: 4 });
  await runtime.remove(spec.id);
});

test.skipIf(!runc)("another runtime: exec, with and without a terminal", async () => {
  const spec = sh("sleep 1000");
  const running = await runtime.start(spec, { stdin: false, logging: unlogged });
  const exec = async (name: string, script: string, terminal: boolean) => {
    const process = processSpec(["sh", "-c", script], { terminal });
    const added = await runtime.exec(spec.id, name, process, { stdin: true });
    await added.write(Buffer.from("in\n"));
    return await outcomeOf(added);
  };
  expect(await exec("a", "read x; echo $x; exit 5", false)).toMatchObject({
    text: "in\n",
    exitCode: 5,
  });
  expect(await exec("b", "stty -echo; read x; tty; exit 6", true)).toMatchObject({ exitCode: 6 });
  const absent = runtime.exec(spec.id, "c", processSpec(["nosuch"]), { stdin: false });
  await expect(absent).rejects.toMatchObject({ code: "not_found", exitCode: 127 });
  running.signal(15);
  running.signal(9);
  expect(await running.exited).toMatchObject({ exitCode: 137 });
  await runtime.remove(spec.id);
});

const refused: [args: string[], code: string, exitCode: number, words: string][] = [
  [["nosuch"], "not_found", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'],
  [["/nosuch"], "not_found", 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'],
  [["/etc/passwd"], "denied", 126, 'exec: "/etc/passwd": permission denied: unknown'],
];
for (const [args, code, exitCode, words] of refused) {
  test.skipIf(!runc)(`another runtime: ${args[0]} is refused in Docker's words`, async () => {
    const spec = bundleSpec(laboratory.rootfs, args, { runtime: "other" });
    const failure = await runtime
      .start(spec, { stdin: false, logging: unlogged })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Failure);
    expect(failure).toMatchObject({ code, exitCode });
    expect((failure as Failure).message).toContain(words);
    await runtime.remove(spec.id);
  });
}

test("start() refuses a runtime that is not installed, and one that nobody defined", async () => {
  const start = (name: string) =>
    runtime.start(sh("", { runtime: name }), { stdin: false, logging: unlogged });
  await expect(start("absent")).rejects.toThrow("fork/exec /nowhere/runtime: no such file");
  await expect(start("nosuch")).rejects.toThrow("unknown or invalid runtime name: nosuch");
});

test.skipIf(!runc)("another runtime: a later daemon without the name takes it over", async () => {
  const id = newId();
  const script =
    "stty -echo; read x; echo got $x; until stty size 2>/dev/null; do usleep 50000; done; exit 3";
  const task = {
    id,
    directory: `${laboratory.directory}/run`,
    rootfs: laboratory.rootfs,
    programs,
    runtime: "other",
    args: ["sh", "-c", script],
    logging: unlogged,
    stdin: true,
    terminal: true,
    exec: ["sh", "-c", "read x; echo $x; exit 5"],
  };
  const crash = [process.execPath, `${import.meta.dir}/crash.ts`, JSON.stringify(task)];
  const child = Bun.spawn(crash, { stdout: "pipe", env: { ...process.env } });
  const { value } = await child.stdout.getReader().read();
  expect(Buffer.from(value ?? []).toString()).toBe("ready\n");
  child.kill("SIGKILL");
  await child.exited;

  const later = await openRuntime({ directory: `${laboratory.directory}/run` });
  const running = await later.adopt(id, { logging: unlogged });
  const added = await later.adoptExec(id, "added");
  await added!.write(Buffer.from("hello\n"));
  expect(await outcomeOf(added!)).toMatchObject({ text: "hello\n", exitCode: 5 });
  const more = await later.exec(id, "more", processSpec(["true"]), { stdin: false });
  expect(await more.exited).toMatchObject({ exitCode: 0 });
  running!.resize(11, 22); // the runtime between us and the terminal hears of it by a signal
  await running!.write(Buffer.from("typed\n"));
  const { text, exitCode } = await outcomeOf(running!);
  expect(text).toEndWith("got typed\r\n11 22\r\n");
  expect(exitCode).toBe(3);
  await later.remove(id);
  await later.close();
});
