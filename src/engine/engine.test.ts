import { afterAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { Readable } from "node:stream";
import { Failure } from "../base/mod.ts";
import { request, run, World } from "./laboratory.ts";
import type { Attachment, AttachRequest, Engine } from "./types.ts";

const worlds: World[] = [];
afterAll(() => {
  for (const { directory } of worlds) rmSync(directory, { recursive: true, force: true });
});

async function open(): Promise<{ world: World; engine: Engine }> {
  const world = new World();
  worlds.push(world);
  const { engine } = await run(world);
  await engine.reconcile();
  return { world, engine };
}

const { signal } = new AbortController();
const settle = () => Bun.sleep(1);
const all: AttachRequest = {
  stdin: true,
  stdout: true,
  stderr: true,
  logs: false,
  stream: true,
  detachKeys: "",
};

function client(input?: Readable): Attachment & { text(): string } {
  let text = "";
  return {
    ...(input ? { input } : {}),
    output: async ({ bytes }) => void (text += Buffer.from(bytes).toString()),
    signal: new AbortController().signal,
    text: () => text,
  };
}

async function actions(engine: Engine): Promise<string[]> {
  const untilNs = BigInt(Date.now() + 1) * 1_000_000n;
  const past = await Array.fromAsync(engine.events({ sinceNs: 0n, untilNs, signal }));
  return past.filter(({ type }) => type === "container").map(({ action }) => action);
}

describe("create()", () => {
  test("merges the image's configuration and makes up a name", async () => {
    const { engine } = await open();
    const { id, warnings } = await engine.create(request(""));
    const made = engine.resolve(id.slice(0, 12));
    expect(warnings).toEqual([]);
    expect(made.name).toMatch(/^[a-z]+_[a-z]+$/);
    expect([made.path, made.args]).toEqual(["sh", []]);
    expect(made.config.Hostname).toBe(id.slice(0, 12));
    expect(made.config.Env).toEqual(["IMAGE=1"]);
    expect(made.hostConfig).toMatchObject({ NetworkMode: "bridge", IpcMode: "private" });
    expect(made.state.status).toBe("created");
  });

  test("refuses a taken name, a missing image and a contradiction, and leaves nothing", async () => {
    const { engine, world } = await open();
    await engine.create(request("one"));
    await expect(engine.create(request("one"))).rejects.toThrow(
      'The container name "/one" is already',
    );
    await expect(
      engine.create(request("two", { config: { Image: "nope" } })),
    ).rejects.toMatchObject({
      code: "not_found",
    });
    const policy = { Name: "always", MaximumRetryCount: 0 } as const;
    const both = { AutoRemove: true, RestartPolicy: policy };
    await expect(engine.create(request("two", { hostConfig: both }))).rejects.toThrow(
      "'AutoRemove'",
    );
    const cut = { config: { Entrypoint: [""], Cmd: [] } };
    await expect(engine.create(request("two", cut))).rejects.toThrow("no command specified");
    await settle();
    expect(engine.list()).toHaveLength(1);
    expect(world.snapshots.size).toBe(1);
    await engine.create(request("two"));
  });

  test("only an image that lacks is not found: clients would pull it for anything else", async () => {
    const { engine } = await open();
    for (const hostConfig of [
      { NetworkMode: "container:nope" },
      { PidMode: "container:nope" },
      { VolumesFrom: ["nope"] },
    ]) {
      await expect(engine.create(request("two", { hostConfig }))).rejects.toMatchObject({
        code: "invalid",
        message: expect.stringContaining("nope"),
      });
    }
  });

  test('takes what clients send for "no limit", and names that hosts have', async () => {
    const { engine } = await open();
    const limits = { Memory: 64 << 20, MemorySwappiness: -1, PidsLimit: 0, Runtime: "runc" };
    const config = { Hostname: "my_host" };
    const { id } = await engine.create(request("one", { hostConfig: limits, config }));
    expect(engine.resolve(id).hostConfig).toMatchObject({
      MemorySwap: 128 << 20,
      MemorySwappiness: null,
      PidsLimit: null,
    });
    for (const [hostConfig, words] of [
      [{ IpcMode: "bogus" }, "Invalid IPC mode: bogus"],
      [{ CpusetCpus: "0,4000" }, "Requested CPUs are not available - requested 0,4000"],
      [{ CpusetCpus: "3-1" }, "Invalid value 3-1 for cpuset cpus"],
      [{ CpusetMems: "4000" }, "Requested memory nodes are not available"],
      [{ DeviceRequests: [{ Capabilities: [["tpu"]] }] }, '"" with capabilities: [[tpu]]'],
    ] as const) {
      const asked = engine.create(request("bad", { hostConfig }));
      await expect(asked).rejects.toMatchObject({
        code: "invalid",
        message: expect.stringContaining(words),
      });
    }
    await engine.create(request("set", { hostConfig: { CpusetCpus: "0", CpusetMems: "0" } }));
  });

  test("twenty at once with one name: one gets it", async () => {
    const { engine, world } = await open();
    const tries = Array.from({ length: 20 }, () => engine.create(request("one")));
    const results = await Promise.allSettled(tries);
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(world.snapshots.size).toBe(1);
  });
});

describe("start(), stop(), kill(), remove()", () => {
  test("a life, as its events tell it", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one"));
    await engine.start(id);
    await expect(engine.start(id)).rejects.toMatchObject({ code: "not_modified" });
    await expect(engine.remove(id, { force: false, volumes: false })).rejects.toThrow(
      'cannot remove container "/one": container is running: stop the container before removing ' +
        "or force remove",
    );
    await engine.stop(id, {});
    await expect(engine.stop(id, {})).rejects.toMatchObject({ code: "not_modified" });
    await expect(engine.kill(id, "TERM")).rejects.toThrow(`container ${id} is not running`);
    expect(engine.resolve(id).state).toMatchObject({ status: "exited", exitCode: 143, pid: 0 });
    await engine.rename(id, "uno");
    await engine.remove("" + id, { force: false, volumes: false });
    await settle();
    expect(await actions(engine)).toEqual([
      "create",
      "start",
      "kill",
      "die",
      "stop",
      "rename",
      "destroy",
    ]);
    expect([world.snapshots.size, world.sandboxes.size, world.actors.size]).toEqual([0, 0, 0]);
  });

  test("stop() of a deaf process ends in SIGKILL", async () => {
    const { engine, world } = await open();
    world.heeds = false;
    const { id } = await engine.create(request("one"));
    await engine.start(id);
    await engine.stop(id, { timeoutS: 0 });
    expect(engine.resolve(id).state.exitCode).toBe(137);
  });

  test("a refused start keeps the reason and the exit code, and undoes the rest", async () => {
    const { engine, world } = await open();
    world.refusal = new Failure("not_found", "executable file `nope` not found in $PATH");
    const { id } = await engine.create(request("one"));
    const next = engine.wait(id, "next-exit", signal);
    await expect(engine.start(id)).rejects.toMatchObject({ exitCode: 127 });
    await settle();
    expect(await Promise.race([next, "waits"])).toBe("waits");
    expect(engine.resolve(id).state).toMatchObject({ status: "created", exitCode: 127 });
    expect(engine.resolve(id).state.error).toContain("not found");
    expect(world.sandboxes.size).toBe(0);
    expect(world.snapshots.get(id)).toEqual({ mounted: false });
    const asked = request("two", { hostConfig: { AutoRemove: true } });
    const { id: gone } = await engine.create(asked);
    const removed = engine.wait(gone, "removed", signal);
    await expect(engine.start(gone)).rejects.toThrow();
    expect(await removed).toMatchObject({ exitCode: 127 });
  });

  test("rm --force of twenty at once", async () => {
    const { engine, world } = await open();
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => (await engine.create(request(`c${n}0`))).id),
    );
    await Promise.all(ids.map((id) => engine.start(id)));
    await Promise.all(ids.map((id) => engine.remove(id, { force: true, volumes: false })));
    await settle();
    expect(engine.list()).toEqual([]);
    expect([world.snapshots.size, world.sandboxes.size, world.actors.size]).toEqual([0, 0, 0]);
  });

  test("two removals at once: the second is told so", async () => {
    const { engine } = await open();
    const { id } = await engine.create(request("one"));
    const first = engine.remove(id, { force: true, volumes: false });
    await expect(engine.remove(id, { force: true, volumes: false })).rejects.toThrow(
      `removal of container ${id} is already in progress`,
    );
    await first;
  });

  test("a start and a forced removal at once leave nothing", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one"));
    const started = engine.start(id);
    await engine.remove(id, { force: true, volumes: false });
    await Promise.allSettled([started]);
    await settle();
    expect([world.snapshots.size, world.sandboxes.size, world.actors.size]).toEqual([0, 0, 0]);
  });

  test("restart() keeps a --rm container", async () => {
    const { engine } = await open();
    const { id } = await engine.create(request("one", { hostConfig: { AutoRemove: true } }));
    await engine.start(id);
    await engine.restart(id, {});
    expect(engine.resolve(id).state.status).toBe("running");
  });

  test("pause() holds what needs a running process back", async () => {
    const { engine } = await open();
    const { id } = await engine.create(request("one"));
    await engine.start(id);
    await engine.pause(id);
    await expect(engine.pause(id)).rejects.toThrow("already paused");
    await expect(engine.start(id)).rejects.toThrow("cannot start a paused container");
    const force = { force: false, volumes: false };
    await expect(engine.remove(id, force)).rejects.toThrow("is paused and must be unpaused first");
    await engine.unpause(id);
    await expect(engine.unpause(id)).rejects.toThrow("is not paused");
    await engine.stop(id, {});
  });
});

describe("restart policies", () => {
  const always = { RestartPolicy: { Name: "always", MaximumRetryCount: 0 } } as const;

  test("a failed container starts again, until it is stopped", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one", { hostConfig: always }));
    await engine.start(id);
    world.finish(id, 1);
    await settle();
    expect(engine.resolve(id).state).toMatchObject({ status: "restarting", exitCode: 1 });
    const force = { force: false, volumes: false };
    await expect(engine.remove(id, force)).rejects.toThrow("container is restarting");
    while (engine.resolve(id).state.status !== "running") await Bun.sleep(10);
    expect(engine.resolve(id).restartCount).toBe(1);
    await engine.stop(id, {});
    await settle();
    expect(engine.resolve(id)).toMatchObject({
      manuallyStopped: true,
      state: { status: "exited" },
    });
  });

  test("stop() while it waits calls the restart off", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one", { hostConfig: always }));
    await engine.start(id);
    world.finish(id, 1);
    await settle();
    await engine.stop(id, {});
    expect(engine.resolve(id).state.status).toBe("exited");
    await engine.remove(id, { force: false, volumes: false });
  });

  test("the next daemon starts what was waiting", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one", { hostConfig: always }));
    await engine.start(id);
    world.finish(id, 1);
    await settle();
    await engine.close();
    const { engine: next } = await run(world);
    await next.reconcile();
    while (next.resolve(id).state.status !== "running") await Bun.sleep(1);
    await next.remove(id, { force: true, volumes: false });
  });
});

describe("attach(), exec()", () => {
  test("a client that attached before the start gets all output, and gives input", async () => {
    const { engine, world } = await open();
    const config = { OpenStdin: true, StdinOnce: true };
    const { id } = await engine.create(request("one", { config }));
    const one = client(Readable.from([Buffer.from("hello")]));
    const two = client();
    const attached = [engine.attach(id, all, one), engine.attach(id, all, two)];
    await engine.start(id);
    await settle();
    const { input } = world.actors.get(id)!;
    world.finish(id, 0);
    await Promise.all(attached);
    expect(input).toBe("hello<end>");
    expect([one.text(), two.text()]).toEqual([
      `out of ${id.slice(0, 4)}\n`,
      `out of ${id.slice(0, 4)}\n`,
    ]);
  });

  test("the detach keys end a client's stream, not the process", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one", { config: { Tty: true, OpenStdin: true } }));
    await engine.start(id);
    const keys = Readable.from([Buffer.from("a\x10"), Buffer.from("b\x10"), Buffer.from("\x11c")]);
    await engine.attach(id, all, client(keys));
    expect(world.actors.get(id)?.input).toBe("a\x10b");
    expect(engine.resolve(id).state.status).toBe("running");
    expect(await actions(engine)).toEqual(["create", "start", "attach", "detach"]);
  });

  test("a client that goes away while it waits for the start is forgotten", async () => {
    const { engine } = await open();
    const { id } = await engine.create(request("one"));
    const gone = new AbortController();
    const attached = engine.attach(id, all, { ...client(), signal: gone.signal });
    gone.abort();
    await attached;
  });

  test("the end is told when those who attached have the output, and can be asked for later", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one", { hostConfig: { AutoRemove: true } }));
    const order: string[] = [];
    const slow: Attachment = {
      output: async () => {
        await Bun.sleep(5);
        order.push("output");
      },
      signal,
    };
    const attached = engine.attach(id, all, slow);
    const ended = engine.wait(id, "next-exit", signal).then(() => order.push("end"));
    await engine.start(id);
    world.finish(id, 4);
    await Promise.all([attached, ended]);
    expect(order).toEqual(["output", "end"]);
    await settle();
    expect(engine.list()).toEqual([]);
    expect(engine.lastExit(id)).toEqual({ exitCode: 4 });
    expect(engine.lastExit("one")).toBeUndefined();
  });

  test("a size that comes before the process of an exec waits for it", async () => {
    const { engine } = await open();
    const { id } = await engine.create(request("one"));
    await engine.start(id);
    const asked = {
      ...{ cmd: ["sh"], env: [], user: "", workingDir: "", privileged: false, tty: true },
      ...{ attachStdin: false, attachStdout: true, attachStderr: true, detachKeys: "" },
    };
    const execId = await engine.exec(id, asked);
    await expect(engine.execResize(execId, 10, 20)).rejects.toMatchObject({ code: "conflict" });
    const started = engine.execStart(execId, { detach: true, tty: true }, undefined);
    await engine.execResize(execId, 10, 20);
    await started;
  });

  test("an exec runs once, is listed while it runs, and keeps its exit code", async () => {
    const { engine, world } = await open();
    const { id } = await engine.create(request("one"));
    const asked = {
      cmd: ["ls", "-l"],
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
    await expect(engine.exec(id, asked)).rejects.toThrow(`container ${id} is not running`);
    await engine.start(id);
    await expect(engine.exec(id, { ...asked, cmd: [] })).rejects.toThrow(
      "No exec command specified",
    );
    const execId = await engine.exec(id, asked);
    expect(execId).toMatch(/^[0-9a-f]{64}$/);
    const one = client();
    const done = engine.execStart(execId, { detach: false, tty: false }, one);
    await settle();
    expect(engine.resolve(id).execIds).toEqual([execId]);
    expect(engine.execInspect(execId)).toMatchObject({ running: true, exitCode: null });
    await expect(engine.execStart(execId, { detach: true, tty: false }, undefined)).rejects.toThrow(
      "is already running",
    );
    world.finish(execId, 5);
    await done;
    await settle();
    expect(one.text()).toBe(`out of ${execId.slice(0, 4)}\n`);
    expect(engine.execInspect(execId)).toMatchObject({ running: false, exitCode: 5 });
    expect(engine.resolve(id).execIds).toEqual([]);
    expect(() => engine.execInspect("nope")).toThrow("No such exec instance: nope");
    expect((await actions(engine)).slice(2)).toEqual([
      "exec_create: ls -l",
      "exec_start: ls -l",
      "exec_die",
    ]);
  });

  test("a health check makes a container healthy", async () => {
    const { engine, world } = await open();
    const Healthcheck = { Test: ["CMD", "true"], Interval: 1e6 };
    const { id } = await engine.create(request("one", { config: { Healthcheck } }));
    await engine.start(id);
    expect(engine.resolve(id).state.health?.Status).toBe("starting");
    while (engine.resolve(id).state.health?.Status !== "healthy") {
      for (const key of world.actors.keys()) if (key !== id) world.finish(key, 0);
      await Bun.sleep(1);
    }
    expect(await actions(engine)).toContain("health_status: healthy");
    await engine.remove(id, { force: true, volumes: false });
  });
});

test("wait() answers for each condition", async () => {
  const { engine, world } = await open();
  const { id } = await engine.create(request("one"));
  expect(await engine.wait(id, "not-running", signal)).toEqual({ exitCode: 0 });
  await engine.start(id);
  const waits = [engine.wait(id, "not-running", signal), engine.wait(id, "next-exit", signal)];
  const removed = engine.wait(id, "removed", signal);
  world.finish(id, 9);
  expect(await Promise.all(waits)).toEqual([{ exitCode: 9 }, { exitCode: 9 }]);
  await engine.remove(id, { force: false, volumes: false });
  expect(await removed).toEqual({ exitCode: 9 });
  await expect(engine.wait(id, "removed", signal)).rejects.toThrow("No such container");
});

test("prune() removes what does not run, and heeds labels", async () => {
  const { engine } = await open();
  const { id: kept } = await engine.create(
    request("kept", { config: { Labels: { keep: "yes" } } }),
  );
  const { id: runs } = await engine.create(request("runs"));
  const { id: gone } = await engine.create(request("gone"));
  await engine.start(runs);
  const { ids } = await engine.prune(new Map([["label!", ["keep=yes"]]]), { isDry: false });
  expect(ids).toEqual([gone]);
  expect(engine.list().map(({ id }) => id)).toEqual([runs, kept]);
});
