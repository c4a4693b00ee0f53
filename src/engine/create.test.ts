import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { request, run, World } from "./laboratory.ts";
import type { HostConfig } from "./types.ts";

const worlds: World[] = [];
afterAll(() => {
  for (const { directory } of worlds) rmSync(directory, { recursive: true, force: true });
});

async function open() {
  const world = new World();
  worlds.push(world);
  const { engine } = await run(world);
  await engine.reconcile();
  return { world, engine };
}

test("create() refuses links that cannot be, and leaves those of own networks for the start", async () => {
  const { engine } = await open();
  await engine.create(request("db"));
  const cases: [Partial<HostConfig>, message: string][] = [
    [{ Links: ["nope:x"] }, "could not get container for nope: No such container: nope"],
    [{ Links: [":x"] }, 'could not get container for : invalid name or ID supplied: ""'],
    [{ Links: ["db:x:y"] }, "bad format for links: db:x:y"],
    [{ Links: [""] }, "empty string specified for links"],
    [{ Links: ["db"], NetworkMode: "host" }, "host type networking can't be used with links"],
    [{ Links: ["db"], NetworkMode: "container:db" }, "container type network can't be used"],
  ];
  for (const [hostConfig, message] of cases) {
    await expect(engine.create(request("web", { hostConfig }))).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining(message),
    });
  }
  await engine.create(request("web", { hostConfig: { Links: ["db:database"] } }));
  expect(engine.list()).toHaveLength(2);
});

const mac = "02:42:ac:11:00:02";

test("create() refuses a MAC address where there is no network of its own", async () => {
  const { engine } = await open();
  const config = { MacAddress: mac };
  const asked = request("web", { config, hostConfig: { NetworkMode: "host" } });
  await expect(engine.create(asked)).rejects.toThrow("mac-address and the network mode");
});

test("create() discards a percentage of Windows with a warning, and refuses its limits of I/O", async () => {
  const { engine } = await open();
  const asked = (hostConfig: Partial<HostConfig>) => engine.create(request("", { hostConfig }));
  const { id, warnings } = await asked({ CpuCount: 3, CpuPercent: 5, BlkioWeightDevice: [] });
  expect(warnings).toEqual(["linux does not support CPU percent. Percent discarded."]);
  const kept = { CpuCount: 3, CpuPercent: 0, BlkioWeightDevice: [] };
  expect(engine.resolve(id).hostConfig).toMatchObject(kept);
  await expect(asked({ IOMaximumIOps: 7 })).rejects.toThrow("configuration of maximum IOPs");
  await expect(asked({ IOMaximumBandwidth: 7 })).rejects.toThrow("of maximum bandwidth");
});

test("connect() gives the MAC address back that create asked for, on the mode's network alone", async () => {
  const { engine } = await open();
  const { id } = await engine.create(request("web", { config: { MacAddress: mac } }));
  await engine.disconnect("bridge", id, false);
  await engine.connect("other", id, { network: "other" });
  await engine.connect("bridge", id, { network: "bridge" });
  const macs = engine.endpoints(id).map(({ networkName, macAddress }) => [networkName, macAddress]);
  expect(macs).toEqual([
    ["other", undefined],
    ["bridge", mac],
  ]);
});

test("create() knows a platform by each of its names, and says which it cannot read", async () => {
  const { engine } = await open();
  for (const platform of ["", "linux", "amd64", "linux/amd64", "linux/x86_64", "Linux/AMD64"]) {
    await engine.create({ ...request(""), platform });
  }
  for (const [platform, code] of [
    ["linux/s390x", "not_found"],
    ["nonsense", "invalid"],
    ["linux/", "invalid"],
    ["a/b/c/d", "invalid"],
  ] as const) {
    await expect(engine.create({ ...request(""), platform })).rejects.toMatchObject({ code });
  }
});

test("create() takes any number below one for no limit of processes", async () => {
  const { engine } = await open();
  for (const [PidsLimit, shown] of [
    [-1, null],
    [-2, null],
    [0, null],
    [7, 7],
  ] as const) {
    const { id } = await engine.create(request("", { hostConfig: { PidsLimit } }));
    expect(engine.resolve(id).hostConfig.PidsLimit).toBe(shown);
  }
});

test("resolve() refuses an empty name as a mistake, not as a container that lacks", async () => {
  const { engine } = await open();
  expect(() => engine.resolve("")).toThrow('invalid name or ID supplied: ""');
});

test("a start that fails for another file than the program's ends with 128, and wait() tells why", async () => {
  const { engine, world } = await open();
  const reason = 'custom device "/dev/nope": no such file or directory';
  world.refusal = new Failure("invalid", reason);
  const { id } = await engine.create(request("one"));
  await expect(engine.start(id)).rejects.toMatchObject({ exitCode: 128 });
  const { signal } = new AbortController();
  const ended = await engine.wait(id, "not-running", signal);
  expect(ended).toEqual({ exitCode: 128, error: reason });
});
