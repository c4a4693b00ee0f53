import { afterAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { type Run, request, run, World } from "./laboratory.ts";

const worlds: World[] = [];
afterAll(() => {
  for (const { directory } of worlds) rmSync(directory, { recursive: true, force: true });
});

function makeWorld(killAt: number): World {
  const world = new World();
  world.killAt = killAt;
  worlds.push(world);
  return world;
}

type Script = (one: Run, world: World) => Promise<void>;
const volumes = { config: { Volumes: { "/data": {} } }, hostConfig: { Binds: ["named:/named"] } };
const forever = new AbortController().signal;

const scripts: Record<string, Script> = {
  "create, start, end, start, stop, rm --volumes": async ({ engine }, world) => {
    const { id } = await engine.create(request("c1", volumes));
    await engine.start(id);
    const ended = engine.wait(id, "next-exit", forever);
    world.finish(id, 3);
    expect(await ended).toEqual({ exitCode: 3 });
    await engine.start(id);
    await engine.stop(id, {});
    await engine.remove(id, { force: false, volumes: true });
  },
  "run --rm": async ({ engine }, world) => {
    const { hostConfig, config } = volumes;
    const asked = { config, hostConfig: { ...hostConfig, AutoRemove: true } };
    const { id } = await engine.create(request("c1", asked));
    const removed = engine.wait(id, "removed", forever);
    await engine.start(id);
    world.finish(id, 7);
    expect(await removed).toEqual({ exitCode: 7 });
  },
  "rm --force of a paused one": async ({ engine }) => {
    const { id } = await engine.create(request("c1", volumes));
    await engine.start(id);
    await engine.pause(id);
    await engine.remove(id, { force: true, volumes: true });
  },
  "network connect, disconnect, rm --force": async ({ engine }) => {
    const { id } = await engine.create(request("c1"));
    await engine.start(id);
    await engine.connect("other", id, { network: "other" });
    await engine.disconnect("other", id, false);
    await engine.remove(id, { force: true, volumes: true });
  },
};

/** Lets all that can go on do so. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Bun.sleep(0);
}

function checkAgreement(world: World, { engine }: Run): void {
  const list = engine.list();
  const ids = list.map(({ id }) => id).sort();
  const alive = list.filter(({ state }) => state.status === "running");
  for (const { state } of alive) expect(state.exitCode).toBe(0);
  const running = alive.map(({ id }) => id);
  expect([...world.snapshots.keys()].sort()).toEqual(ids);
  expect([...world.sandboxes.keys()]).toEqual(running);
  for (const { id, endpoints } of alive) {
    expect([...world.sandboxes.get(id)!]).toEqual(endpoints.map(({ network }) => network));
  }
  expect([...world.actors.keys()]).toEqual(running);
  const mounted = [...world.snapshots].filter(([, { mounted }]) => mounted).map(([id]) => id);
  expect(mounted).toEqual(running);
  for (const [, { anonymous, users }] of world.volumes) {
    for (const user of users) expect(ids).toContain(user);
    if (anonymous) expect(users.size).toBe(1);
  }
  for (const { state } of list) expect(["created", "running", "exited"]).toContain(state.status);
}

describe("a daemon that is killed at any step leaves nothing that the next does not put right:", () => {
  for (const [name, script] of Object.entries(scripts)) {
    test(name, async () => {
      const whole = makeWorld(0);
      const undisturbed = await run(whole);
      await undisturbed.engine.reconcile();
      await script(undisturbed, whole);
      await settle();
      checkAgreement(whole, undisturbed);
      expect(undisturbed.engine.list()).toEqual([]);
      expect(whole.steps).toBeGreaterThan(10);
      for (let killAt = 1; killAt <= whole.steps; killAt++) {
        const world = makeWorld(killAt);
        const first = await run(world);
        await first.engine.reconcile();
        await Promise.race([script(first, world), first.killed]);
        world.killAt = 0;
        const second = await run(world);
        await second.engine.reconcile();
        await settle();
        checkAgreement(world, second);
        // What is left can be used and removed, and the name is free then.
        for (const { id } of second.engine.list()) {
          await second.engine.remove(id, { force: true, volumes: true });
        }
        await second.engine.create(request("c1"));
      }
    });
  }
});

test("an end while the daemon was away keeps its exit code, and its time", async () => {
  const world = makeWorld(0);
  const first = await run(world);
  const { id } = await first.engine.create(request("c1"));
  await first.engine.start(id);
  world.killAt = world.steps + 1;
  world.finish(id, 42);
  await first.killed;
  world.killAt = 0;
  const { engine } = await run(world);
  expect(await engine.reconcile()).toEqual([`adopted container ${id}`]);
  await settle();
  const { state } = engine.resolve("c1");
  expect(state).toMatchObject({ status: "exited", exitCode: 42 });
  expect(Date.parse(state.finishedAt)).toBe(
    world.actors.get(id)?.exit?.atMs ?? Date.parse(state.finishedAt),
  );
});
