import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { PassThrough } from "node:stream";
import { request } from "./laboratory.ts";
import { importBusybox, openReal, type Real } from "./real.ts";
import type { Attachment, AttachRequest, CreateRequest, ExecRequest } from "./types.ts";

const isRoot = process.getuid?.() === 0;
const directory = isRoot ? mkdtempSync("/tmp/lading-H-real-") : "";
const bridge = "ladH0";
const { signal } = new AbortController();
let real: Real;

beforeAll(async () => {
  if (!isRoot) return;
  real = await openReal(directory, bridge);
  await real.engine.reconcile();
  await importBusybox(real, directory);
});

afterAll(async () => {
  if (!isRoot) return;
  for (const { id } of real.engine.list()) {
    await real.engine.remove(id, { force: true, volumes: true });
  }
  await real.close();
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const left = mounts.filter((line) => line.includes(directory));
  spawnSync("ip", ["link", "del", bridge]);
  spawnSync("nft", ["delete", "table", "inet", "lading_ladH0"]);
  expect(left).toEqual([]);
  rmSync(directory, { recursive: true, force: true });
});

const streams: AttachRequest = {
  stdin: true,
  stdout: true,
  stderr: true,
  logs: false,
  stream: true,
  detachKeys: "",
};

function client(input?: PassThrough) {
  const text = { 1: "", 2: "" };
  const attachment: Attachment = {
    ...(input ? { input } : {}),
    output: async ({ stream, bytes }) => void (text[stream] += Buffer.from(bytes).toString()),
    signal,
  };
  return { attachment, text };
}

type Asked = Parameters<typeof request>[1] & { readonly cmd: readonly string[] };

function asked(name: string, { cmd, config, hostConfig }: Asked): CreateRequest {
  const made = { config: { ...config, Cmd: cmd }, hostConfig: { ...hostConfig } };
  return request(name, made);
}

/** As `docker run`: what it printed, and its exit code. */
async function runToEnd(what: Asked, input?: string) {
  const { engine } = real;
  const stdin = input === undefined ? {} : { OpenStdin: true, StdinOnce: true };
  const config = { ...what.config, ...stdin };
  const { id } = await engine.create(asked("", { ...what, config }));
  const source = new PassThrough();
  const { attachment, text } = client(input === undefined ? undefined : source);
  const attached = engine.attach(id, streams, attachment);
  const ended = engine.wait(id, "next-exit", signal);
  await engine.start(id);
  source.end(input);
  const { exitCode } = await ended;
  await attached;
  return { id, exitCode, stdout: text[1], stderr: text[2] };
}

const quiet = { NetworkMode: "none" };
const sh = (script: string) => ["sh", "-c", script];

const execRequest: ExecRequest = {
  cmd: ["true"],
  env: [],
  user: "",
  workingDir: "",
  privileged: false,
  tty: false,
  attachStdin: false,
  attachStdout: true,
  attachStderr: true,
  detachKeys: "",
};

async function execute(id: string, what: Partial<ExecRequest>) {
  const { engine } = real;
  const execId = await engine.exec(id, { ...execRequest, ...what });
  const { attachment, text } = client();
  await engine.execStart(execId, { detach: false, tty: false }, attachment);
  return { stdout: text[1], stderr: text[2], exitCode: engine.execInspect(execId).exitCode };
}

describe.skipIf(!isRoot)("a container", () => {
  test("prints, reads, and ends with its exit code", async () => {
    const ran = await runToEnd(
      { cmd: sh("cat; echo bad >&2; exit 7"), hostConfig: quiet },
      "hello",
    );
    expect(ran).toMatchObject({ exitCode: 7, stdout: "hello", stderr: "bad\n" });
  });

  test("has Docker's environment, user, host name and working directory", async () => {
    const script = "env; id -u; id -G; hostname; pwd";
    const config = { Env: ["A=1"], WorkingDir: "/made/here" };
    const { id, stdout } = await runToEnd({ cmd: sh(script), config, hostConfig: quiet });
    const short = id.slice(0, 12);
    for (const line of ["PATH=/bin", `HOSTNAME=${short}`, "A=1", "HOME=/root"]) {
      expect(stdout).toContain(`${line}\n`);
    }
    expect(stdout).toEndWith(`\n0\n0 10\n${short}\n/made/here\n`);
  });

  test("lends its shared memory when it is asked to, to those who share its IPC namespace", async () => {
    const { engine } = real;
    const { id } = await engine.create(
      request("lender", {
        config: { Image: "busybox", Cmd: sh("echo lent > /dev/shm/x; exec sleep 1000") },
        hostConfig: { ...quiet, IpcMode: "shareable" },
      }),
    );
    await engine.start(id);
    const hostConfig = { ...quiet, IpcMode: "container:lender" };
    const cmd = sh("until cat /dev/shm/x 2>/dev/null; do sleep 0.01; done; stat -c %a /dev/shm");
    expect((await runToEnd({ cmd, hostConfig })).stdout).toBe("lent\n1777\n");
    await engine.remove(id, { force: true, volumes: true });
  });

  test("takes every IPC mode, and a number of processes without limit", async () => {
    const look = sh("test -d /dev/shm && echo shm; test -d /dev/mqueue && echo queues");
    const modes = { none: "queues\n", host: "shm\nqueues\n", private: "shm\nqueues\n" };
    for (const [IpcMode, stdout] of Object.entries(modes)) {
      const hostConfig = { ...quiet, IpcMode, PidsLimit: -1, SecurityOpt: ["apparmor=unconfined"] };
      expect(await runToEnd({ cmd: look, hostConfig })).toMatchObject({ stdout });
    }
  });

  test("runs as another user", async () => {
    const config = { User: "web" };
    const { stdout } = await runToEnd({
      cmd: sh("id -u; id -g; echo $HOME"),
      config,
      hostConfig: quiet,
    });
    expect(stdout).toBe("101\n102\n/tmp\n");
  });

  for (const [program, exitCode] of [
    ["/no/such", 127],
    ["/etc/plain", 126],
  ] as const) {
    test(`that cannot run ${program} ends with ${exitCode}`, async () => {
      const { engine } = real;
      const { id } = await engine.create(asked("", { cmd: [program], hostConfig: quiet }));
      await expect(engine.start(id)).rejects.toMatchObject({ exitCode });
      expect(engine.resolve(id).state).toMatchObject({ status: "created", exitCode });
      await engine.remove(id, { force: false, volumes: false });
    });
  }

  test("with --rm leaves nothing", async () => {
    const { engine, snapshots, networks } = real;
    const { id } = await engine.create(
      asked("", { cmd: ["true"], hostConfig: { AutoRemove: true } }),
    );
    const removed = engine.wait(id, "removed", signal);
    await engine.start(id);
    expect(networks.sandbox(id)?.endpoints[0]?.address).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(await removed).toEqual({ exitCode: 0 });
    expect(() => engine.resolve(id)).toThrow("No such container");
    while (snapshots.has(id)) await Bun.sleep(5);
    expect(networks.sandbox(id)).toBeUndefined();
  });

  test("keeps its log, over a restart", async () => {
    const { engine } = real;
    const { id } = await engine.create(asked("", { cmd: sh("echo one"), hostConfig: quiet }));
    for (let time = 0; time < 2; time++) {
      const ended = engine.wait(id, "next-exit", signal);
      await engine.start(id);
      await ended;
    }
    const query = { stdout: true, stderr: true, from: "start", follow: false } as const;
    const chunks = await Array.fromAsync(engine.logs(id, query));
    expect(chunks.map(({ bytes }) => Buffer.from(bytes).toString()).join("")).toBe("one\none\n");
  });

  test("hands a client what the run it attached to prints, whatever earlier runs left", async () => {
    const { engine } = real;
    const { id } = await engine.create(asked("", { cmd: sh("printf hi"), hostConfig: quiet }));
    for (let time = 0; time < 5; time++) {
      const { attachment, text } = client();
      const attached = engine.attach(id, streams, attachment);
      await engine.start(id);
      await attached;
      expect(text[1]).toBe("hi");
      await engine.wait(id, "not-running", signal);
    }
  });

  test("stops, pauses, counts and lists its processes", async () => {
    const { engine } = real;
    const cmd = sh("trap 'exit 3' TERM; while :; do sleep 0.05; done");
    const { id } = await engine.create(asked("", { cmd }));
    await engine.start(id);
    const { titles, processes } = await engine.top(id, "-ef");
    expect(titles).toContain("CMD");
    expect(processes.map((row) => row.at(-1)).join()).toContain("trap");
    const { usage, networks } = await engine.stats(id);
    expect(usage.pids.current).toBeGreaterThan(0);
    expect(Object.keys(networks)).toContain("eth0");
    await engine.pause(id);
    expect(engine.resolve(id).state.status).toBe("paused");
    await engine.unpause(id);
    await engine.update(id, { Memory: 64 << 20, MemorySwap: 64 << 20 });
    await engine.stop(id, {});
    expect(engine.resolve(id).state.exitCode).toBe(3);
  });
});

describe.skipIf(!isRoot)("an exec", () => {
  test("has its own user, variables and folder, and its exit code", async () => {
    const { engine } = real;
    const { id } = await engine.create(asked("", { cmd: ["sleep", "1000"], hostConfig: quiet }));
    await engine.start(id);
    const cmd = sh("echo $A; id -u; pwd; echo bad >&2; exit 4");
    const ran = await execute(id, { cmd, env: ["A=x"], user: "web", workingDir: "/data" });
    expect(ran).toEqual({ stdout: "x\n101\n/data\n", stderr: "bad\n", exitCode: 4 });
    await expect(execute(id, { cmd: ["/no/such"] })).rejects.toThrow();
    await engine.remove(id, { force: true, volumes: false });
  });

  test("of a container that ended just now says so", async () => {
    const { engine } = real;
    const { id } = await engine.create(asked("", { cmd: ["sleep", "1000"], hostConfig: quiet }));
    await engine.start(id);
    const execId = await engine.exec(id, { ...execRequest, user: "web" });
    const { pid } = engine.resolve(id).state;
    process.kill(pid, "SIGKILL");
    while (existsSync(`/proc/${pid}/root`)); // without a turn in which the engine could hear of it
    const started = engine.execStart(execId, { detach: true, tty: false }, undefined);
    await expect(started).rejects.toThrow(`container ${id} is not running`);
    await engine.remove(id, { force: true, volumes: false });
  });
});

describe.skipIf(!isRoot)("mounts", () => {
  test("a volume gets what the image has there, once, and outlives its container", async () => {
    const hostConfig = { ...quiet, Binds: ["kept:/data"] };
    const script = "cat /data/inner/file; echo more > /data/inner/file";
    expect((await runToEnd({ cmd: sh(script), hostConfig })).stdout).toBe("from the image\n");
    expect((await runToEnd({ cmd: sh(script), hostConfig })).stdout).toBe("more\n");
  });

  test("a bind is made when its source is missing, and can be read-only", async () => {
    const source = `${directory}/made/source`;
    const hostConfig = { ...quiet, Binds: [`${source}:/a/b`, `${source}:/ro:ro`] };
    const { stdout } = await runToEnd({
      cmd: sh("echo x > /a/b/file; cat /ro/file; touch /ro/y 2>/dev/null || echo refused"),
      hostConfig,
    });
    expect(stdout).toBe("x\nrefused\n");
    expect(readFileSync(`${source}/file`, "utf8")).toBe("x\n");
  });

  test("a file can be bound read-only to a path that the image lacks", async () => {
    writeFileSync(`${directory}/file.conf`, "set\n");
    const { stdout } = await runToEnd({
      cmd: sh("cat /new/file.conf; echo x 2>/dev/null > /new/file.conf || echo refused"),
      hostConfig: { ...quiet, Binds: [`${directory}/file.conf:/new/file.conf:ro`] },
    });
    expect(stdout).toBe("set\nrefused\n");
  });

  test("a subpath of a volume is that part of it, and nothing outside it", async () => {
    const { volumes } = real;
    const { mountpoint } = await volumes.create({ name: "parts" });
    mkdirSync(`${mountpoint}/one`);
    writeFileSync(`${mountpoint}/one/file`, "part\n");
    symlinkSync("/etc", `${mountpoint}/away`);
    const mount = (Subpath: string) => ({
      ...quiet,
      Mounts: [
        { Type: "volume", Source: "parts", Target: "/x", VolumeOptions: { Subpath } } as const,
      ],
    });
    const ran = await runToEnd({ cmd: ["cat", "/x/file"], hostConfig: mount("one") });
    expect(ran.stdout).toBe("part\n");
    await expect(runToEnd({ cmd: ["ls", "/x"], hostConfig: mount("away") })).rejects.toThrow();
  });

  test("tmpfs, read-only root and limits hold", async () => {
    const { stdout } = await runToEnd({
      cmd: sh(
        "touch /x 2>/dev/null || echo ro; touch /t/x && df -k /t | tail -1 | awk '{print $2}'",
      ),
      hostConfig: { ...quiet, ReadonlyRootfs: true, Tmpfs: { "/t": "size=1m" } },
    });
    expect(stdout).toBe("ro\n1024\n");
  });
});

async function bytesOf(tar: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(tar));
}

function tarOf(files: Record<string, string>): AsyncIterable<Uint8Array> {
  const folder = mkdtempSync(`${directory}/tar-`);
  for (const [name, text] of Object.entries(files)) writeFileSync(`${folder}/${name}`, text);
  const { stdout } = spawnSync("tar", ["-C", folder, "-cf", "-", "."]);
  return (async function* () {
    yield stdout;
  })();
}

const listTar = (tar: Buffer) =>
  spawnSync("tar", ["-tf", "-"], { input: tar, encoding: "utf8" }).stdout.trim().split("\n").sort();

describe.skipIf(!isRoot)("cp", () => {
  for (const state of ["running", "stopped"]) {
    test(`goes both ways with a ${state} container, its volumes included`, async () => {
      const { engine } = real;
      const { id } = await engine.create(
        asked("", { cmd: ["sleep", "1000"], hostConfig: { ...quiet, Binds: [`cp-${state}:/v`] } }),
      );
      if (state === "running") await engine.start(id);
      const options = { noOverwriteDirNonDir: false, copyUidGid: false };
      await engine.writeArchive(id, "/v", tarOf({ one: "1" }), options);
      await engine.writeArchive(id, "/data", tarOf({ two: "2" }), options);
      expect(existsSync(`${real.volumes.get(`cp-${state}`).mountpoint}/one`)).toBe(true);
      const { stat, tar } = await engine.readArchive(id, "/data");
      expect(stat).toMatchObject({ name: "data", linkTarget: "" });
      expect(stat.mode & 0o777).toBe(0o755);
      expect(listTar(await bytesOf(tar))).toEqual([
        "data/",
        "data/inner/",
        "data/inner/file",
        "data/two",
      ]);
      const dot = await engine.readArchive(id, "/v/.");
      expect(listTar(await bytesOf(dot.tar))).toEqual(["./", "./one"]);
      await expect(engine.statPath(id, "/nope")).rejects.toThrow(
        `Could not find the file /nope in container ${engine.resolve(id).name}`,
      );
      await expect(engine.writeArchive(id, "/data/inner/file", tarOf({}), options)).rejects.toThrow(
        "extraction point is not a directory",
      );
      await engine.remove(id, { force: true, volumes: false });
    });

    test(`never leaves a ${state} container through its links`, async () => {
      const { engine } = real;
      const { id } = await engine.create(asked("", { cmd: ["sleep", "1000"], hostConfig: quiet }));
      if (state === "running") await engine.start(id);
      expect((await engine.statPath(id, "/outside")).linkTarget).toBe("/etc");
      const { tar } = await engine.readArchive(id, "/outside/plain");
      expect(listTar(await bytesOf(tar))).toEqual(["plain"]);
      await expect(engine.statPath(id, "/outside/hosts-of-host")).rejects.toThrow();
      const options = { noOverwriteDirNonDir: false, copyUidGid: false };
      await engine.writeArchive(id, "/outside", tarOf({ [`lading-H-${state}`]: "x" }), options);
      expect(existsSync(`/etc/lading-H-${state}`)).toBe(false);
      expect((await engine.statPath(id, `/etc/lading-H-${state}`)).size).toBe(1);
      await engine.remove(id, { force: true, volumes: false });
    });
  }
});

describe.skipIf(!isRoot)("commit and export", () => {
  test("a commit is an image with the changes", async () => {
    const { engine } = real;
    const { id } = await runToEnd({
      cmd: ["-c", "echo new > /made"],
      config: { Entrypoint: ["sh"] },
      hostConfig: quiet,
    });
    expect((await engine.changes(id)).filter(({ kind }) => kind === 1)).toEqual([
      { path: "/made", kind: 1 },
    ]);
    const image = await engine.commit(id, {
      reference: "made:1",
      author: "me",
      comment: "",
      pause: true,
      changes: ["ENTRYPOINT []", "CMD cat /made", "ENV B=2"],
    });
    expect(image.config.config?.Env).toContain("B=2");
    expect(image.config.history?.at(-1)?.created_by).toBe("-c echo new > /made");
    const ran = await runToEnd({
      cmd: ["cat", "/made"],
      config: { Image: "made:1" },
      hostConfig: quiet,
    });
    expect(ran.stdout).toBe("new\n");
    const tar = await bytesOf(engine.export(id));
    expect(listTar(tar)).toContain("made");
  });
});

describe.skipIf(!isRoot)("twenty clients at once", () => {
  test("create, start and remove twenty containers", async () => {
    const { engine } = real;
    const before = engine.list().length;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { id } = await engine.create(asked("", { cmd: ["sleep", "1000"] }));
        await engine.start(id);
        await engine.remove(id, { force: true, volumes: true });
      }),
    );
    expect(engine.list()).toHaveLength(before);
    expect(readdirSync(`${directory}/run`)).toContain("runtime");
  });
});
