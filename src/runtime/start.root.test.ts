import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { adoptOrphans, cgroupDirectories, findCgroups } from "../sys/mod.ts";
import { groupPath } from "./groups.ts";
import {
  bundleSpec,
  everything,
  makeLaboratory,
  newId,
  outcomeOf,
  processSpec,
  textOf,
} from "./laboratory.ts";
import { openRuntime } from "./runtime.ts";
import type { BundleSpec, Logging, Runtime } from "./types.ts";

setDefaultTimeout(60_000);
let orphans: Disposable;
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime;
const unlogged = { stdin: false, logging: { kind: "none" } } as const;

beforeAll(async () => {
  orphans = adoptOrphans();
  laboratory = makeLaboratory();
  runtime = await openRuntime({ directory: `${laboratory.directory}/run` });
});
afterAll(async () => {
  await runtime.reconcile(new Set());
  await runtime.close();
  laboratory[Symbol.dispose]();
  orphans[Symbol.dispose]();
});

const spec = (args: readonly string[], more: Partial<BundleSpec> = {}) =>
  bundleSpec(laboratory.rootfs, args, more);
const sh = (script: string, more: Partial<BundleSpec> = {}) => spec(["sh", "-c", script], more);

async function runToEnd(bundle: BundleSpec, logging: Logging = { kind: "none" }) {
  const running = await runtime.start(bundle, { stdin: false, logging });
  const outcome = await outcomeOf(running);
  await runtime.remove(bundle.id);
  return outcome;
}

test("start() runs a process, tells its output and its exit code", async () => {
  const outcome = await runToEnd(sh("echo out; echo err >&2; exit 3"));
  expect(outcome).toMatchObject({ exitCode: 3, oomKilled: false });
  expect(outcome.text.split("\n").sort()).toEqual(["", "err", "out"]);
  expect(Math.abs(outcome.atMs - Date.now())).toBeLessThan(60_000);
});

test("start() keeps stdout and stderr in the order of writing in a log", async () => {
  const directory = `${laboratory.directory}/order`;
  // What is in both pipes at once has no order any more: the pauses are longer than a busy host's.
  const script = "for i in 1 2 3; do echo o$i; usleep 150000; echo e$i >&2; usleep 150000; done";
  const bundle = sh(script);
  const logging = { kind: "disk", directory, bytesMax: 1 << 20 } as const;
  const { text } = await runToEnd(bundle, logging);
  const expected = [1, 2, 3].flatMap((n) => [`o${n}`, `e${n}`]).join("\n");
  expect(text).toBe(`${expected}\n`);
  const again = { ...everything, follow: false };
  expect(await textOf(runtime.readLog(directory, again))).toBe(text);
  expect(await textOf(runtime.readLog(directory, { ...again, stderr: false }), 1)).toBe(
    "o1\no2\no3\n",
  );
});

const refused: [args: string[], code: string, exitCode: number, words: string][] = [
  [["nosuch"], "not_found", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'],
  [["/nosuch"], "not_found", 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'],
  [["/etc/passwd"], "denied", 126, 'exec: "/etc/passwd": permission denied: unknown'],
  [["/etc"], "denied", 126, 'exec: "/etc": is a directory: permission denied: unknown'],
];
for (const [args, code, exitCode, words] of refused) {
  test(`start() and exec() refuse ${args} with ${exitCode} in Docker's words`, async () => {
    const bundle = spec(args);
    const error = await runtime.start(bundle, unlogged).then(
      () => undefined,
      (thrown: Failure) => thrown,
    );
    expect(error).toBeInstanceOf(Failure);
    expect(error).toMatchObject({ code, exitCode });
    expect(error!.message).toStartWith(
      "failed to create task for container: failed to create shim",
    );
    expect(error!.message).toContain(words);
    expect(existsSync(`${laboratory.directory}/run/run/${bundle.id}`)).toBe(false);
    const host = sh("sleep 1000");
    const running = await runtime.start(host, unlogged);
    const denied = runtime.exec(host.id, "refused", processSpec(args), { stdin: false });
    await expect(denied).rejects.toMatchObject({ code, exitCode });
    running.signal(9);
    expect((await running.exited).exitCode).toBe(137);
    await runtime.remove(host.id);
  });
}

test("start() gives the isolation that was asked for", async () => {
  const process = processSpec(["sh", "-c", isolationScript], { noNewPrivileges: true });
  const { text } = await runToEnd(spec([], { domainname: "example.org", process }));
  const lines = text.split("\n");
  expect(lines[0]).toBe("laboratory");
  expect(lines[1]).toBe("example.org");
  expect(lines[2]).toBe("4"); // 0, 1, 2, and the directory that ls reads
  expect(text).toContain("CapEff:\t00000000a80425fb");
  expect(text).toContain("CapBnd:\t00000000a80425fb");
  expect(text).toContain("Seccomp:\t2");
  expect(text).toContain("NoNewPrivs:\t1");
  expect(text).toContain("readonly");
  expect(text).toMatch(/\bnull\b[\s\S]*\burandom\b/);
});
const isolationScript =
  "hostname; cat /proc/sys/kernel/domainname; ls /proc/self/fd | wc -l; " +
  "grep -E 'Cap(Eff|Bnd)|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/keys | wc -c; " +
  "(echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo readonly; ls /dev";

test("start() lets nobody make namespaces, and forks and opens sockets as ever", async () => {
  const { text } = await runToEnd(
    sh(
      "(unshare -U true; unshare -n true; mount -t tmpfs x /tmp) 2>&1; (true) && echo forked; nc -h 2>&1",
    ),
  );
  expect(text.match(/not permitted|denied/g) ?? text).toHaveLength(3);
  expect(text).toContain("forked");
});

test("start() gives a user who is not root no capability, and reads his own pipes", async () => {
  const user = { uid: 1000, gid: 1000, additionalGids: [1000, 4] };
  const { text } = await runToEnd(
    sh("", {
      process: processSpec(
        ["sh", "-c", "id; grep CapEff /proc/self/status; echo again > /dev/stdout"],
        { user },
      ),
    }),
  );
  expect(text).toContain("uid=1000 gid=1000 groups=4");
  expect(text).toContain("CapEff:\t0000000000000000");
  expect(text).toContain("again");
});

test("start() and exec() run under the profile alone, though the runtime is given its compiled form", async () => {
  const syscalls = [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }];
  const seccomp = JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls });
  const what = "exec 2>&1; mkdir /tmp/denied; touch /tmp/let && grep Seccomp: /proc/self/status";
  const spec = sh(`${what}; sleep 1000`, { seccomp });
  const running = await runtime.start(spec, { stdin: false, logging: { kind: "none" } });
  const exec = await runtime.exec(spec.id, "e", processSpec(["sh", "-c", what]), { stdin: false });
  const said =
    "mkdir: can't create directory '/tmp/denied': Operation not permitted\nSeccomp:\t2\n";
  expect((await outcomeOf(exec)).text).toBe(said);
  const config = readFileSync(`${laboratory.directory}/run/run/${spec.id}/config.json`, "utf8");
  expect(config).not.toContain("mkdirat");
  running.signal(9);
  expect((await outcomeOf(running)).text).toBe(said);
  await runtime.remove(spec.id);
});

test("start() with privileged gives all devices and capabilities, and nothing is masked", async () => {
  const { text } = await runToEnd(
    sh("grep CapEff /proc/self/status; ls /dev | wc -l; test -w /sys && echo writable", {
      privileged: true,
      seccomp: "unconfined",
      maskedPaths: [],
      readonlyPaths: [],
    }),
  );
  const devices = readdirSync("/dev").length;
  expect(Number(text.split("\n")[1])).toBeGreaterThan(devices / 2);
});

test("start() with init reaps and passes on signals and exit codes", async () => {
  const { text, exitCode } = await runToEnd(
    sh("cat /proc/1/comm; (sleep 0.05 &); sleep 0.2; ps -o stat | grep -c Z; exit 9", {
      init: true,
    }),
  );
  expect(text).toContain("docker-init");
  expect(text.trim().split("\n").at(-1)).toBe("0");
  expect(exitCode).toBe(9);
});

test("start() mounts what it is given over the defaults", async () => {
  const source = `${laboratory.directory}/source`;
  mkdirSync(source, { recursive: true });
  writeFileSync(`${source}/file`, "mounted\n");
  const { text } = await runToEnd(
    sh("cat /mnt/file; mount | grep ' /dev/shm '; (echo no > /mnt/file) 2>&1", {
      mounts: [
        { type: "bind", source, target: "/mnt", options: ["rbind", "rprivate", "ro"] },
        { type: "tmpfs", source: "tmpfs", target: "/dev/shm", options: ["size=1236k"] },
      ],
    }),
  );
  expect(text).toStartWith("mounted\n");
  expect(text).toContain("size=1236k");
  expect(text).toContain("Read-only file system");
});

test("signal() reaches process 1", async () => {
  const bundle = sh("trap 'echo got; exit 7' USR1; echo ready; while :; do usleep 10000; done");
  const running = await runtime.start(bundle, unlogged);
  let text = "";
  for await (const { bytes } of running.read(everything)) {
    text += Buffer.from(bytes).toString();
    if (text === "ready\n") running.signal(10);
  }
  expect(text).toBe("ready\ngot\n");
  expect((await running.exited).exitCode).toBe(7);
  running.signal(9); // ended: nothing to be told
  await runtime.remove(bundle.id);
});

test("exec() adds a process, with its own output, user and exit code", async () => {
  const bundle = sh("sleep 1000");
  const running = await runtime.start(bundle, unlogged);
  const user = { uid: 12, gid: 34, additionalGids: [] };
  const added = await runtime.exec(
    bundle.id,
    newId(),
    processSpec(["sh", "-c", "id -u; grep Seccomp: /proc/self/status; exit 5"], { user }),
    { stdin: false },
  );
  const outcome = await outcomeOf(added);
  expect(outcome).toMatchObject({ text: "12\nSeccomp:\t2\n", exitCode: 5 });
  running.signal(9);
  await running.exited;
  await runtime.remove(bundle.id);
});

test("exec() output is whole when it is read long after the end, and slowly", async () => {
  const bundle = sh("sleep 1000");
  const running = await runtime.start(bundle, unlogged);
  const script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done";
  const args = processSpec(["sh", "-c", script]);
  const added = await runtime.exec(bundle.id, newId(), args, { stdin: false });
  await added.exited;
  let text = "";
  for await (const { bytes } of added.read(everything)) {
    text += Buffer.from(bytes).toString();
    await Bun.sleep(1);
  }
  expect(text.split("\n")).toHaveLength(20_001);
  expect(text).toEndWith("line 20000\n");
  running.signal(9);
  await running.exited;
  await runtime.remove(bundle.id);
});

test("start() leaves no group when the runtime had too few descriptors, and says what to do", async () => {
  const nofile = { type: "RLIMIT_NOFILE", soft: 10, hard: 10 };
  const bundle = spec(["true"], { process: processSpec(["true"], { rlimits: [nofile] }) });
  const failing = runtime.start(bundle, unlogged);
  await expect(failing).rejects.toMatchObject({ hint: expect.stringContaining("nofile=10") });
  const cgroups = findCgroups()!;
  const groups = cgroupDirectories(cgroups, groupPath(cgroups, bundle.cgroupParent, bundle.id));
  expect(groups.filter((group) => existsSync(group))).toEqual([]);
});

test("remove() kills what still runs, and leaves no group, process or directory", async () => {
  const bundle = sh("sleep 1000");
  const running = await runtime.start(bundle, unlogged);
  expect(await runtime.pids(bundle.id)).toContain(running.pid);
  await runtime.remove(bundle.id);
  expect(existsSync(`/proc/${running.pid}`)).toBe(false);
  expect(existsSync(`${laboratory.directory}/run/run/${bundle.id}`)).toBe(false);
  const { stdout } = Bun.spawnSync(["find", "/sys/fs/cgroup", "-name", bundle.id, "-type", "d"]);
  expect(stdout.toString()).toBe("");
});
